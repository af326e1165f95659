// The vector of vectors.h for aarch64: two registers of four floats, so that every broadcast number serves two products.
#pragma once

#include <arm_neon.h>

#include <cstring>

namespace charlm {

struct Vec {
    float32x4_t low, high;
};
constexpr Index WIDTH = 8;
constexpr Index MAX_ROWS = 6;  // x 2 vectors of 2 registers: 24 accumulators of 32 registers

inline Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
inline Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
inline Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
inline Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }

inline Vec load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
inline void store(float* p, Vec v) {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
}
inline Vec load_first(const float* p, Index n) {
    float lanes[WIDTH] = {};
    if (n > 0) std::memcpy(lanes, p, (std::size_t)n * sizeof(float));
    return load(lanes);
}
inline void store_first(float* p, Vec v, Index n) {
    float lanes[WIDTH];
    store(lanes, v);
    if (n > 0) std::memcpy(p, lanes, (std::size_t)n * sizeof(float));
}
inline Vec all(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)}; }
// Where x is not a number, it stays one.
inline Vec at_most(float limit, Vec x) {
    return {vminq_f32(vdupq_n_f32(limit), x.low), vminq_f32(vdupq_n_f32(limit), x.high)};
}
inline Vec at_least(float limit, Vec x) {
    return {vmaxq_f32(vdupq_n_f32(limit), x.low), vmaxq_f32(vdupq_n_f32(limit), x.high)};
}
inline float32x4_t power_of_two(float32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}
inline Vec power_of_two(Vec n) { return {power_of_two(n.low), power_of_two(n.high)}; }
inline Vec round(Vec x) { return {vrndnq_f32(x.low), vrndnq_f32(x.high)}; }
inline Vec magnitude(Vec x) { return {vabsq_f32(x.low), vabsq_f32(x.high)}; }
inline Vec with_sign_of(Vec size, Vec x) {
    const uint32x4_t sign = vdupq_n_u32(0x80000000);
    return {vbslq_f32(sign, x.low, size.low), vbslq_f32(sign, x.high, size.high)};
}
inline float32x4_t where_positive(float32x4_t x, float32x4_t value) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vclezq_f32(x)));
}
inline Vec where_positive(Vec x, Vec value) {
    return {where_positive(x.low, value.low), where_positive(x.high, value.high)};
}

inline void transpose_quarter(const float* in, Index in_step, float* out, Index out_step) {
    const float32x4_t a = vld1q_f32(in), b = vld1q_f32(in + in_step);
    const float32x4_t c = vld1q_f32(in + 2 * in_step), d = vld1q_f32(in + 3 * in_step);
    const float64x2_t ab_even = vreinterpretq_f64_f32(vtrn1q_f32(a, b)), ab_odd = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    const float64x2_t cd_even = vreinterpretq_f64_f32(vtrn1q_f32(c, d)), cd_odd = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
    vst1q_f32(out, vreinterpretq_f32_f64(vtrn1q_f64(ab_even, cd_even)));
    vst1q_f32(out + out_step, vreinterpretq_f32_f64(vtrn1q_f64(ab_odd, cd_odd)));
    vst1q_f32(out + 2 * out_step, vreinterpretq_f32_f64(vtrn2q_f64(ab_even, cd_even)));
    vst1q_f32(out + 3 * out_step, vreinterpretq_f32_f64(vtrn2q_f64(ab_odd, cd_odd)));
}

// out[j][i] = in[i][j] of 8 x 8 numbers.
inline void transpose_block(const float* in, Index in_step, float* out, Index out_step) {
    for (Index i = 0; i < 8; i += 4)
        for (Index j = 0; j < 8; j += 4) transpose_quarter(in + i * in_step + j, in_step, out + j * out_step + i, out_step);
}

}  // namespace charlm
