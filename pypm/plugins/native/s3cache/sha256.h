/*
 * SHA-256, a block at a time.
 *
 * Of our own, so that the plugin needs no second library whose headers would have to be there to build it.
 *
 * Source: FIPS 180-4.
 */
#ifndef S3CACHE_SHA256_H
#define S3CACHE_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* Hexadecimal digits of a hash, and the zero byte behind them. */
#define SHA256_TEXT_BYTES 65

typedef struct sha256_state {
    uint32_t words[8];
    unsigned char block[64];
    size_t block_used;
    uint64_t total_bytes;
    /* Whether the processor has instructions for it. */
    int by_instructions;
} sha256_state;

void sha256_begin(sha256_state *state);
void sha256_add(sha256_state *state, const void *bytes, size_t count);
/* Write the hash in lower-case hexadecimal digits; the state is used up. */
void sha256_end(sha256_state *state, char text[SHA256_TEXT_BYTES]);

/* Whether a text is a hash as `sha256_end` writes it; NULL is none. */
int sha256_is_text(const char *text);

#endif
