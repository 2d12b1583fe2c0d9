#include "sha256.h"

#include <string.h>

static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotated(uint32_t word, unsigned count) { return word >> count | word << (32 - count); }

static void mix(sha256_state *state, const unsigned char *block) {
    uint32_t schedule[64], v[8];
    unsigned i;
    for (i = 0; i < 16; ++i) {
        schedule[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                      (uint32_t)block[4 * i + 2] << 8 | (uint32_t)block[4 * i + 3];
    }
    for (; i < 64; ++i) {
        const uint32_t early = schedule[i - 15], late = schedule[i - 2];
        schedule[i] = schedule[i - 16] + schedule[i - 7] + (rotated(early, 7) ^ rotated(early, 18) ^ early >> 3) +
                      (rotated(late, 17) ^ rotated(late, 19) ^ late >> 10);
    }
    memcpy(v, state->words, sizeof v);
    for (i = 0; i < 64; ++i) {
        const uint32_t first = v[7] + (rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25)) +
                               ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + schedule[i];
        const uint32_t second = (rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22)) +
                                ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += first;
        v[0] = first + second;
    }
    for (i = 0; i < 8; ++i) {
        state->words[i] += v[i];
    }
}

void sha256_begin(sha256_state *state) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(state, 0, sizeof *state);
    memcpy(state->words, initial, sizeof initial);
}

void sha256_add(sha256_state *state, const void *bytes, size_t count) {
    const unsigned char *from = bytes;
    state->total_bytes += count;
    while (count > 0) {
        size_t step = sizeof state->block - state->block_used;
        if (step > count) {
            step = count;
        }
        if (step == sizeof state->block) {
            mix(state, from);
        } else {
            memcpy(state->block + state->block_used, from, step);
            state->block_used += step;
            if (state->block_used == sizeof state->block) {
                mix(state, state->block);
                state->block_used = 0;
            }
        }
        from += step;
        count -= step;
    }
}

void sha256_end(sha256_state *state, char text[SHA256_TEXT_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    const uint64_t bits = state->total_bytes * 8;
    unsigned char length[8];
    unsigned i;
    for (i = 0; i < 8; ++i) {
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    }
    sha256_add(state, "\x80", 1);
    while (state->block_used != sizeof state->block - sizeof length) {
        sha256_add(state, "", 1);
    }
    sha256_add(state, length, sizeof length);
    for (i = 0; i < 64; ++i) {
        text[i] = digits[state->words[i / 8] >> (28 - 4 * (i % 8)) & 15];
    }
    text[64] = '\0';
}

int sha256_is_text(const char *text) {
    return text != NULL && strlen(text) == SHA256_TEXT_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == SHA256_TEXT_BYTES - 1;
}
