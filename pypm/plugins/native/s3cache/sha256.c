#include "sha256.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define SHA256_HAS_INSTRUCTIONS
#include <cpuid.h>
#include <immintrin.h>
#endif

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

/* One round. The words keep their places, and the names that they go by rotate with every call. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                             \
    do {                                                                                             \
        const uint32_t first = (h) + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +             \
                               (((e) & (f)) ^ (~(e) & (g))) + constants[i] + schedule[i];            \
        const uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +                  \
                                (((a) & (b)) ^ ((a) & (c)) ^ ((b) & (c)));                           \
        (d) += first;                                                                                \
        (h) = first + second;                                                                        \
    } while (0)

static void mix_block(sha256_state *state, const unsigned char *block) {
    uint32_t schedule[64];
    uint32_t a = state->words[0], b = state->words[1], c = state->words[2], d = state->words[3];
    uint32_t e = state->words[4], f = state->words[5], g = state->words[6], h = state->words[7];
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
    for (i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state->words[0] += a;
    state->words[1] += b;
    state->words[2] += c;
    state->words[3] += d;
    state->words[4] += e;
    state->words[5] += f;
    state->words[6] += g;
    state->words[7] += h;
}

#ifdef SHA256_HAS_INSTRUCTIONS
/* The same by the processor's own instructions, which are some six times as fast. They keep the eight words as
 * two vectors, a b e f and c d g h, and do two rounds each. Source: Intel SHA Extensions (2013). */
__attribute__((target("sha,sse4.1"))) static void mix_by_instructions(sha256_state *state,
                                                                      const unsigned char *bytes, size_t blocks) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    const __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state->words), 0xb1);
    const __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state->words + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    __m128i first, second;
    for (; blocks > 0; --blocks, bytes += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i schedule[16];
        unsigned i;
        for (i = 0; i < 16; ++i) {
            __m128i words;
            if (i < 4) {
                words = _mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * i));
                schedule[i] = _mm_shuffle_epi8(words, big_endian);
            } else {
                words = _mm_sha256msg1_epu32(schedule[i - 4], schedule[i - 3]);
                words = _mm_add_epi32(words, _mm_alignr_epi8(schedule[i - 1], schedule[i - 2], 4));
                schedule[i] = _mm_sha256msg2_epu32(words, schedule[i - 1]);
            }
            words = _mm_loadu_si128((const __m128i *)(const void *)(constants + 4 * i));
            words = _mm_add_epi32(words, schedule[i]);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    first = _mm_shuffle_epi32(abef, 0x1b);
    second = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state->words, _mm_blend_epi16(first, second, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state->words + 4), _mm_alignr_epi8(second, first, 8));
}

/* Whether this processor has the instructions: SSSE3, SSE4.1 and SHA. Source: CPUID, leaves 1 and 7. */
static int has_instructions(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    const unsigned wanted = 1u << 9 | 1u << 19;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & wanted) != wanted) {
        return 0;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29) != 0;
}
#endif

static void mix(sha256_state *state, const unsigned char *bytes, size_t blocks) {
#ifdef SHA256_HAS_INSTRUCTIONS
    if (state->by_instructions) {
        mix_by_instructions(state, bytes, blocks);
        return;
    }
#endif
    for (; blocks > 0; --blocks, bytes += sizeof state->block) {
        mix_block(state, bytes);
    }
}

void sha256_begin(sha256_state *state) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(state, 0, sizeof *state);
    memcpy(state->words, initial, sizeof initial);
#ifdef SHA256_HAS_INSTRUCTIONS
    state->by_instructions = has_instructions();
#endif
}

void sha256_add(sha256_state *state, const void *bytes, size_t count) {
    const unsigned char *from = bytes;
    if (count == 0) {
        return;
    }
    state->total_bytes += count;
    if (state->block_used > 0) {
        const size_t room = sizeof state->block - state->block_used;
        const size_t step = count < room ? count : room;
        memcpy(state->block + state->block_used, from, step);
        state->block_used += step;
        from += step;
        count -= step;
        if (state->block_used < sizeof state->block) {
            return;
        }
        mix(state, state->block, 1);
        state->block_used = 0;
    }
    mix(state, from, count / sizeof state->block);
    from += count - count % sizeof state->block;
    memcpy(state->block, from, count % sizeof state->block);
    state->block_used = count % sizeof state->block;
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
