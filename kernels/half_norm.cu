// targets: sm_80
//
// Batch norm of bf16 tensors, where no kernel that makes or reads them does it on the way: moments of
// chunks of rows, which half_norm_merge makes statistics of, and the normalisation with its
// activation. What norm_statistics and norm_apply do for f32 at half the bytes.
//
// Mapping: see columns.cuh, a thread having 8 features (16 bytes), else 1. Memory-bound: 2 bytes a
// value for the moments, 4 for the normalisation. Shared memory of the moments: 24 KiB (x8), 3 KiB
// (x1).

#include "half_vector.cuh"

#include "moments.cuh"
#include "norm.cuh"

struct HalfMomentsParams {
    const bf16 *u;   // [groups, rows, features]
    float *moments;  // [groups, chunks, 2, features]: mean, centred sum of squares
    float *counts;   // [groups, chunks]: rows
    int rows;
    int features;
    int chunk;
    int unused;
};

template <int W>
__device__ __forceinline__ void moments(const HalfMomentsParams &p)
{
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    const Moments<W> moments = block_moments<W>(p.u, c, p.features);
    if (threadIdx.y == 0 && c.inside) {
        const int part = blockIdx.z * gridDim.x + blockIdx.x;
        float *to = p.moments + 2 * part * p.features + c.feature;
        store_once(to, moments.mean);
        store_once(to + p.features, moments.square);
        if (c.feature == 0) {
            p.counts[part] = static_cast<float>(min(p.chunk, p.rows - c.first));
        }
    }
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_moments_x1(const HalfMomentsParams p)
{
    moments<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_moments_x8(const HalfMomentsParams p)
{
    moments<8>(p);
}

struct HalfNormApplyParams {
    const bf16 *u;        // [groups, rows, features]
    const float *saved;   // [groups, 2, features]: mean, scale
    const float *affine;  // [2, features]: gamma, beta
    bf16 *y;              // may be u
    int rows;
    int features;
    int chunk;
    int activation;
};

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_apply_x1(const HalfNormApplyParams p)
{
    norm_apply<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_apply_x8(const HalfNormApplyParams p)
{
    norm_apply<8>(p);
}
