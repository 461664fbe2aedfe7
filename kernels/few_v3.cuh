// What the kernels share that join maps in f32, of any number of channels and best of one to four,
// with a small plane in bf16.
//
// A thread moves 8 adjacent channels of the small plane at once. VECTOR: rows of channels are
// multiples of 16 bytes and no activation of the small plane is tanh (the host looks); otherwise
// values are moved one by one.
#pragma once

#include "few_channels.cuh"
#include "half.cuh"

constexpr int OCTET = 8;

// 8 adjacent values, zero from place `count` on.
template <bool VECTOR>
__device__ __forceinline__ uint4 load_octet(const bf16 *from, int count)
{
    if constexpr (VECTOR) {
        return count > 0 ? *reinterpret_cast<const uint4 *>(from) : make_uint4(0, 0, 0, 0);
    } else {
        unsigned words[OCTET / 2];
#pragma unroll
        for (int i = 0; i < OCTET / 2; ++i) {
            const unsigned low = 2 * i < count ? from[2 * i].bits : 0;
            const unsigned high = 2 * i + 1 < count ? from[2 * i + 1].bits : 0;
            words[i] = low | high << 16;
        }
        return make_uint4(words[0], words[1], words[2], words[3]);
    }
}

template <bool VECTOR>
__device__ __forceinline__ void store_octet(bf16 *to, int count, uint4 octet)
{
    if constexpr (VECTOR) {
        if (count > 0) {
            *reinterpret_cast<uint4 *>(to) = octet;
        }
    } else {
        const unsigned words[OCTET / 2] = {octet.x, octet.y, octet.z, octet.w};
#pragma unroll
        for (int i = 0; i < OCTET; ++i) {
            if (i < count) {
                to[i].bits = static_cast<unsigned short>(words[i / 2] >> 16 * (i % 2));
            }
        }
    }
}

__device__ __forceinline__ void widen_octet(uint4 octet, float (&values)[OCTET])
{
    const unsigned words[OCTET / 2] = {octet.x, octet.y, octet.z, octet.w};
#pragma unroll
    for (int i = 0; i < OCTET / 2; ++i) {
        values[2 * i] = widen_low(words[i]);
        values[2 * i + 1] = widen_high(words[i]);
    }
}

__device__ __forceinline__ uint4 narrow_octet(const float (&values)[OCTET])
{
    return make_uint4(narrow2(values[0], values[1]), narrow2(values[2], values[3]),
                      narrow2(values[4], values[5]), narrow2(values[6], values[7]));
}

// Where channel `channel` of a row of WIDTH values lies in shared memory that is read by octets, 8
// of them at once as two vectors of 16 bytes: the first halves of 8 octets, then the second ones.
__device__ __forceinline__ int octet_place(int channel)
{
    const int octet = channel / OCTET;
    const int half = channel / 4 % 2;
    return octet / 8 * 64 + half * 32 + octet % 8 * 4 + channel % 4;
}

// 4 values of octet `octet`: of its half 0 or 1.
__device__ __forceinline__ float4 read_quad(const float4 *row, int octet, int half)
{
    return row[octet / 8 * 16 + half * 8 + octet % 8];
}

__device__ __forceinline__ void read_quad(const float4 *row, int octet, int half,
                                          float (&values)[4])
{
    const float4 quad = read_quad(row, octet, half);
    values[0] = quad.x;
    values[1] = quad.y;
    values[2] = quad.z;
    values[3] = quad.w;
}

// `activate` for several values. tanh is not for the small plane of these networks: ANY says that
// there may be one, and the values take turns so that its code is there once.
template <bool ANY, int N>
__device__ __forceinline__ void activate_all(int activation, float (&x)[N])
{
    if (ANY && activation == TANH) {
#pragma unroll 1
        for (int turn = 0; turn < N; ++turn) {
            const float y = tanhf(x[0]);
#pragma unroll
            for (int i = 0; i + 1 < N; ++i) {
                x[i] = x[i + 1];
            }
            x[N - 1] = y;
        }
        return;
    }
    const float factor = activation == LEAKY_RELU ? 0.2f : 1.0f;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const float negative = activation == RELU ? 0.0f : factor * x[i];
        x[i] = x[i] < 0.0f ? negative : x[i];
    }
}

// A batch norm: xhat = (u - mean) scale; gamma xhat + beta enters the activation. These fix what is
// rounded where, so that all kernels get the same bits.
__device__ __forceinline__ float normalised(float u, float mean, float scale)
{
    return __fmul_rn(__fsub_rn(u, mean), scale);
}

__device__ __forceinline__ float activation_input(float xhat, float gamma, float beta)
{
    return fmaf(xhat, gamma, beta);
}

// A batch norm's four values for each of CHANNELS channels, in shared memory.
template <int CHANNELS>
struct NormValues {
    static_assert(CHANNELS <= 64, "octet_place");
    static constexpr int WIDTH = 64;
    float4 mean[WIDTH / 4];
    float4 scale[WIDTH / 4];
    float4 gamma[WIDTH / 4];
    float4 beta[WIDTH / 4];

    // Of channels from `first` on. saved: [2, c_small] of the group; affine [2, c_small].
    __device__ __forceinline__ void load(const float *saved, const float *affine, int first,
                                         int c_small)
    {
        for (int i = threadIdx.x; i < CHANNELS; i += blockDim.x) {
            const int at = octet_place(i);
            const int channel = first + i;
            const bool exists = channel < c_small;
            reinterpret_cast<float *>(mean)[at] = exists ? saved[channel] : 0.0f;
            reinterpret_cast<float *>(scale)[at] = exists ? saved[c_small + channel] : 0.0f;
            reinterpret_cast<float *>(gamma)[at] = exists ? affine[channel] : 0.0f;
            reinterpret_cast<float *>(beta)[at] = exists ? affine[c_small + channel] : 0.0f;
        }
    }

    // activation(gamma (u - mean) scale + beta), in bf16, for octet `octet` of the channels.
    template <bool ANY>
    __device__ __forceinline__ uint4 apply(uint4 u, int octet, int activation) const
    {
        float values[OCTET];
        widen_octet(u, values);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            // Read again for each octet: there are no registers to keep them in.
            asm volatile("" ::: "memory");
            float means[4], scales[4], gammas[4], betas[4];
            read_quad(mean, octet, half, means);
            read_quad(scale, octet, half, scales);
            read_quad(gamma, octet, half, gammas);
            read_quad(beta, octet, half, betas);
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                float &value = values[4 * half + b];
                const float xhat = normalised(value, means[b], scales[b]);
                value = activation_input(xhat, gammas[b], betas[b]);
            }
        }
        activate_all<ANY>(activation, values);
        return narrow_octet(values);
    }
};
