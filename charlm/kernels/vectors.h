// One vector of floats, as wide as the processor allows, and the two functions that gates are made of.
//
// Everything is spelled out, including fused multiply-adds, and the compiler must not contract on its own: a number must
// not depend on the loop that computed it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace charlm {

using Index = std::int64_t;

}  // namespace charlm

#if defined(__aarch64__)
#include "neon.h"
#else
#include <immintrin.h>

namespace charlm {

#if defined(__AVX512F__)

using Vec = __m512;
using Lanes = __m512i;
constexpr Index WIDTH = 16;
constexpr Index MAX_ROWS = 12;  // x 2 vectors: 24 accumulators of 32 registers

inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline Vec load_first(const float* p, Index n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
inline void store_first(float* p, Vec v, Index n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
inline Vec all(float x) { return _mm512_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
// Where x is not a number the second operand is returned: it stays one.
inline Vec at_most(float limit, Vec x) { return _mm512_min_ps(all(limit), x); }
inline Vec at_least(float limit, Vec x) { return _mm512_max_ps(all(limit), x); }
inline Vec power_of_two(Vec n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
inline Vec round(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec magnitude(Vec x) { return _mm512_abs_ps(x); }
inline Vec with_sign_of(Vec size, Vec x) {
    const Lanes sign = _mm512_set1_epi32((int)0x80000000);
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(size), _mm512_and_si512(_mm512_castps_si512(x), sign)));
}
inline Vec where_positive(Vec x, Vec value) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLE_UQ), value);
}

#elif defined(__AVX2__) && defined(__FMA__)

using Vec = __m256;
using Lanes = __m256i;
constexpr Index WIDTH = 8;
constexpr Index MAX_ROWS = 6;  // x 2 vectors: 12 accumulators of 16 registers

inline Lanes first_lanes(Index n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline Vec load_first(const float* p, Index n) { return _mm256_maskload_ps(p, first_lanes(n)); }
inline void store_first(float* p, Vec v, Index n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
inline Vec all(float x) { return _mm256_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec at_most(float limit, Vec x) { return _mm256_min_ps(all(limit), x); }
inline Vec at_least(float limit, Vec x) { return _mm256_max_ps(all(limit), x); }
inline Vec power_of_two(Vec n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline Vec round(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec magnitude(Vec x) { return _mm256_andnot_ps(all(-0.0f), x); }
inline Vec with_sign_of(Vec size, Vec x) { return _mm256_or_ps(size, _mm256_and_ps(all(-0.0f), x)); }
inline Vec where_positive(Vec x, Vec value) {
    return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NLE_UQ), value);
}

#else
#error "compile for x86-64-v3, x86-64-v4 or aarch64"
#endif

// out[j][i] = in[i][j] of 8 x 8 numbers.
inline void transpose_block(const float* in, Index in_step, float* out, Index out_step) {
    __m256 pair[8], four[8];
#pragma GCC unroll 4
    for (Index i = 0; i < 8; i += 2) {
        const __m256 even = _mm256_loadu_ps(in + i * in_step), odd = _mm256_loadu_ps(in + (i + 1) * in_step);
        pair[i] = _mm256_unpacklo_ps(even, odd);
        pair[i + 1] = _mm256_unpackhi_ps(even, odd);
    }
#pragma GCC unroll 2
    for (Index i = 0; i < 8; i += 4)
#pragma GCC unroll 2
        for (Index half = 0; half < 2; ++half) {
            four[i + 2 * half] = _mm256_shuffle_ps(pair[i + half], pair[i + half + 2], _MM_SHUFFLE(1, 0, 1, 0));
            four[i + 2 * half + 1] = _mm256_shuffle_ps(pair[i + half], pair[i + half + 2], _MM_SHUFFLE(3, 2, 3, 2));
        }
#pragma GCC unroll 4
    for (Index j = 0; j < 4; ++j) {
        _mm256_storeu_ps(out + j * out_step, _mm256_permute2f128_ps(four[j], four[j + 4], 0x20));
        _mm256_storeu_ps(out + (j + 4) * out_step, _mm256_permute2f128_ps(four[j], four[j + 4], 0x31));
    }
}

}  // namespace charlm
#endif

namespace charlm {

// Ask for the cache line at an address.
inline void prefetch(const float* place) { __builtin_prefetch(place, 0, 3); }

// out[j][i] = in[i][j] for i < rows, j < columns.
inline void transpose(const float* in, Index in_step, Index rows, Index columns, float* out, Index out_step) {
    for (Index i = 0; i < rows; i += 8)
        for (Index j = 0; j < columns; j += 8) {
            if (i + 8 <= rows && j + 8 <= columns) {
                transpose_block(in + i * in_step + j, in_step, out + j * out_step + i, out_step);
                continue;
            }
            for (Index a = i; a < rows && a < i + 8; ++a)
                for (Index b = j; b < columns && b < j + 8; ++b) out[b * out_step + a] = in[a * in_step + b];
        }
}

// exp(x) - 1 = 2^n (e^r - 1) + (2^n - 1), x = n ln 2 + r: without cancellation where x is small.
// Polynomial: Cephes' expf, S. L. Moshier 1989, of e^r = 1 + r + r^2 P(r) for |r| <= ln 2 / 2.
struct Exponential {
    Vec scale, residue;  // 2^n and e^r - 1

    explicit Exponential(Vec x) {
        const Vec n = round(x * all(1.44269504088896341f));
        const Vec r = fma(n, all(2.12194440e-4f), fma(n, all(-0.693359375f), x));
        Vec p = all(1.9875691500e-4f);
        p = fma(p, r, all(1.3981999507e-3f));
        p = fma(p, r, all(8.3334519073e-3f));
        p = fma(p, r, all(4.1665795894e-2f));
        p = fma(p, r, all(1.6666665459e-1f));
        p = fma(p, r, all(5.0000001201e-1f));
        scale = power_of_two(n);
        residue = fma(p, r * r, r);
    }
    Vec value() const { return fma(scale, residue, scale); }
    Vec minus_one() const { return fma(scale, residue, scale - all(1.0f)); }
};

inline Vec exponential(Vec x) { return Exponential(at_least(-87.0f, at_most(88.0f, x))).value(); }

inline Vec sigmoid(Vec x) { return all(1.0f) / (all(1.0f) + exponential(all(0.0f) - x)); }

// tanh |x| = (e^2|x| - 1) / (e^2|x| + 1); it is 1 in float from 9.02 on.
inline Vec tanh(Vec x) {
    const Vec e = Exponential(at_most(18.1f, magnitude(x) + magnitude(x))).minus_one();
    return with_sign_of(e / (e + all(2.0f)), x);
}

}  // namespace charlm
