// vector.cuh for bf16: in memory W adjacent bf16, in registers as many f32.
#pragma once

#include "half.cuh"
#include "vector.cuh"

// Blocks of 256 threads on a multiprocessor, at least: at most 128 registers a thread.
constexpr int HALF_BLOCKS = 2;

template <>
struct Packed<bf16, 1> {
    bf16 x;

    __device__ __forceinline__ Vector<1> values() const
    {
        return {{widen(x)}};
    }
};

template <>
struct Packed<bf16, 8> {
    uint4 x;

    __device__ __forceinline__ Vector<8> values() const
    {
        return {{widen_low(x.x), widen_high(x.x), widen_low(x.y), widen_high(x.y),
                 widen_low(x.z), widen_high(x.z), widen_low(x.w), widen_high(x.w)}};
    }
};

template <int W>
__device__ __forceinline__ Packed<bf16, W> load_packed(const bf16 *from)
{
    return {*reinterpret_cast<const decltype(Packed<bf16, W>::x) *>(from)};
}

template <int W>
__device__ __forceinline__ void store(bf16 *to, const Vector<W> &x)
{
    Wide<W> wide;
#pragma unroll
    for (int i = 0; i < W; ++i) {
        wide.v[i] = x.v[i];
    }
    store_half(to, wide);
}

template <int W>
__device__ __forceinline__ Vector<W> rounded(const Vector<W> &x)
{
    Vector<W> y;
#pragma unroll
    for (int i = 0; i < W; ++i) {
        y.v[i] = rounded(x.v[i]);
    }
    return y;
}
