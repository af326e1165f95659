// bfloat16, the upper half of a float: rounding, pairs, and products of pairs that are added to a float.
//
// A pair is two bfloat16 numbers in the memory of one float, the even one first. Where the processor has no instructions
// for them, plain loops compute the same bits; they are for tests, not for speed. `vdpbf16ps` adds the product of the odd
// numbers and then that of the even ones, each as a fused multiply-add that is rounded to nearest even; it takes numbers
// smaller than any normal one for zero, and turns such results into zero (Intel's Software Developer's Manual, VDPBF16PS).
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace charlm {

using Bfloat16 = uint16_t;

inline float without_denormal(float x) { return std::fabs(x) < FLT_MIN ? std::copysign(0.0f, x) : x; }

// Round to nearest even; denormal numbers become zero, and what is not a number stays so.
inline Bfloat16 rounded(float x) {
    const float normal = without_denormal(x);
    uint32_t bits;
    std::memcpy(&bits, &normal, sizeof bits);
    if (std::isnan(x)) return (Bfloat16)(bits >> 16 | 0x40);
    return (Bfloat16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#if defined(__AVX512BF16__)

constexpr bool HAS_BFLOAT16 = true;

// Write WIDTH numbers, rounded.
inline void store_rounded(Bfloat16* p, Vec v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
}
// Pair the numbers in each lane, rounded.
inline Vec pair_up(Vec even, Vec odd) {
    alignas(64) static constexpr uint16_t ALTERNATE[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                         8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const Lanes both = (Lanes)_mm512_cvtne2ps_pbh(odd, even);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(ALTERNATE), both));
}
inline Vec add_products(Vec sum, Vec a, Vec b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }

#else

constexpr bool HAS_BFLOAT16 = false;

inline void store_rounded(Bfloat16* p, Vec v) {
    float numbers[WIDTH];
    store(numbers, v);
    for (Index lane = 0; lane < WIDTH; ++lane) {
        const Bfloat16 each = rounded(numbers[lane]);
        std::memcpy(p + lane, &each, sizeof each);
    }
}
inline Vec pair_up(Vec even, Vec odd) {
    float first[WIDTH], second[WIDTH];
    store(first, even);
    store(second, odd);
    for (Index lane = 0; lane < WIDTH; ++lane) {
        const uint32_t bits = rounded(first[lane]) | (uint32_t)rounded(second[lane]) << 16;
        std::memcpy(first + lane, &bits, sizeof bits);
    }
    return load(first);
}
// One number of a pair as a float.
inline float unpaired(const float* pair, bool is_odd) {
    uint32_t bits;
    std::memcpy(&bits, pair, sizeof bits);
    bits = is_odd ? bits & 0xffff0000u : bits << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return without_denormal(x);
}
inline Vec add_products(Vec sum, Vec a_pairs, Vec b_pairs) {
    float sums[WIDTH], left[WIDTH], right[WIDTH];
    store(sums, sum);
    store(left, a_pairs);
    store(right, b_pairs);
    for (Index lane = 0; lane < WIDTH; ++lane) {
        const float *a = left + lane, *b = right + lane;
        const float odd = std::fma(unpaired(a, true), unpaired(b, true), without_denormal(sums[lane]));
        sums[lane] = without_denormal(std::fma(unpaired(a, false), unpaired(b, false), without_denormal(odd)));
    }
    return load(sums);
}

#endif

}  // namespace charlm
