// targets: sm_80
//
// The dense layer of several outputs in mixed precision: y = x W with x and W in f32 and y in bf16;
// dW = x^T dy with dy in bf16 and dW in f32. What dense does in f32, at half the bytes of y and dy,
// which weigh most beside W. A long sum is cut into parts: dense_forward makes those of y,
// half_dense_merge adds and rounds them; sum_partials adds those of dW.
//
// Mapping and shared memory: see dense_tile.cuh and dense_merge.cuh.

#include "half.cuh"

__device__ __forceinline__ float value(bf16 x)
{
    return widen(x);
}

__device__ __forceinline__ float4 load_four(const bf16 *from)
{
    const uint2 x = *reinterpret_cast<const uint2 *>(from);
    return make_float4(widen_low(x.x), widen_high(x.x), widen_low(x.y), widen_high(x.y));
}

__device__ __forceinline__ void store_four(bf16 *to, float4 x)
{
    *reinterpret_cast<uint2 *>(to) = make_uint2(narrow2(x.x, x.y), narrow2(x.z, x.w));
}

__device__ __forceinline__ void store_one(bf16 *to, float x)
{
    *to = narrow(x);
}

#include "dense_merge.cuh"
#include "dense_tile.cuh"

using ForwardParams = DenseParams<float, float, bf16>;
using WeightParams = DenseParams<float, bf16, float>;

extern "C" __global__ void __launch_bounds__(256) half_dense_forward(const ForwardParams p)
{
    product<true, false>(p);
}

extern "C" __global__ void __launch_bounds__(256) half_dense_weight_gradient(const WeightParams p)
{
    product<false, false>(p);
}

extern "C" __global__ void __launch_bounds__(MERGE_THREADS)
    half_dense_merge(const DenseMergeParams<bf16> p)
{
    merge_parts(p, [](bf16 *to, float x) { *to = narrow(x); });
}
