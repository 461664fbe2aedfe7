// Philox 4x32-10 (Salmon et al. 2011) and normal numbers from its words, equal to the bit to
// src/rng: every rounding is written out, so that no compiler fuses a product and a sum.
#pragma once

#include "step_values.cuh"

// Random words of `counter` under `key`.
__device__ __forceinline__ uint4 philox4x32_10(uint4 counter, uint2 key)
{
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned low_a = 0xD2511F53u * counter.x, high_a = __umulhi(0xD2511F53u, counter.x);
        const unsigned low_b = 0xCD9E8D57u * counter.z, high_b = __umulhi(0xCD9E8D57u, counter.z);
        counter = make_uint4(high_b ^ counter.y ^ key.x, low_b, high_a ^ counter.w ^ key.y, low_a);
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return counter;
}

// Words 4 block .. 4 block + 4 of a stream at the present step.
__device__ __forceinline__ uint4 philox_block(const StepValues *values, unsigned stream,
                                              unsigned block)
{
    const uint2 key = make_uint2(values->seed[0], values->seed[1]);
    return philox4x32_10(make_uint4(block, values->step[0], values->step[1], stream), key);
}

// The upper 24 bits as a number on [0, 1).
__device__ __forceinline__ float uniform(unsigned word)
{
    return __fmul_rn(__uint2float_rn(word >> 8), 1.0f / 16777216.0f);
}

template <int N>
__device__ __forceinline__ float horner(const float (&coefficients)[N], float x)
{
    float sum = coefficients[N - 1];
#pragma unroll
    for (int i = N - 2; i >= 0; --i) {
        sum = __fmaf_rn(sum, x, coefficients[i]);
    }
    return sum;
}

// Natural logarithm of a positive normal number.
__device__ __forceinline__ float philox_ln(float x)
{
    const float log[9] = {0.3333333f,  -0.2499999f,  0.20000708f,  -0.1666848f, 0.14249937f,
                          -0.1241105f, 0.11661511f, -0.11571201f, 0.07149754f};
    const unsigned bits = __float_as_uint(x);
    const int exponent = static_cast<int>(bits - 0x3f3504f3u) >> 23;
    const float mantissa = __uint_as_float(bits - (static_cast<unsigned>(exponent) << 23));
    const float f = __fsub_rn(mantissa, 1.0f);
    const float square = __fmul_rn(f, f);
    const float cube = __fmul_rn(square, f);
    const float tail = __fmaf_rn(square, -0.5f, __fmul_rn(cube, horner(log, f)));
    return __fmaf_rn(__int2float_rn(exponent), 0.69314718f, __fadd_rn(f, tail));
}

// Two N(0, 1) numbers from two words: radius from the first, angle from the second.
__device__ __forceinline__ float2 box_muller(unsigned radius_word, unsigned angle_word)
{
    const float sin[5] = {1.5707964f, -0.6459641f, 0.07969258f, -0.0046812664f, 0.00015820652f};
    const float cos[5] = {1.0f, -1.2337005f, 0.2536692f, -0.02086007f, 0.0009036299f};
    constexpr float UNIT = 1.0f / 4294967296.0f;
    const float u = __fmaf_rn(__uint2float_rn(radius_word), UNIT, 0.5f * UNIT);
    const float radius = __fsqrt_rn(fmaxf(__fmul_rn(-2.0f, philox_ln(u)), 0.0f));

    const unsigned quarter = (angle_word + (1u << 29)) >> 30;
    const int rest = static_cast<int>(angle_word - (quarter << 30));
    const float x = __fmul_rn(__int2float_rn(rest), 4.0f * UNIT);
    const float square = __fmul_rn(x, x);
    float sine = __fmul_rn(x, horner(sin, square));
    float cosine = horner(cos, square);
    if (quarter & 1) {
        const float old = cosine;
        cosine = -sine;
        sine = old;
    }
    if (quarter & 2) {
        cosine = -cosine;
        sine = -sine;
    }
    return make_float2(__fmul_rn(radius, cosine), __fmul_rn(radius, sine));
}
