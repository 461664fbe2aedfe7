// targets: sm_75
//
// The backward pass of batch norm and activation, in three kernels: dy times the activation's slope
// in place with the two sums of each feature by chunks of rows; the merging of the chunks, which
// also gives the gradients of gamma and beta; then the gradient of the linear output in place of dy,
// gamma scale (dy - mean(dy) - xhat mean(dy xhat)), xhat being the normalised value.
//
// Mapping: see columns.cuh. Memory-bound: 16 bytes a value, then 12. Shared memory: 8 KiB (x4),
// 2 KiB (x1); 4 KiB in the merge.

#include "norm.cuh"

struct NormBackwardParams {
    float *dy;           // [groups, rows, features]
    const float *u;
    const float *y;      // of the first kernel alone
    const float *saved;  // [groups, 2, features]: mean, scale
    const float *gamma;  // of the last kernel alone
    float *sums;         // partial [groups, chunks, 2, features]; in the last kernel [groups, 2, features]
    int rows;
    int features;
    int chunk;
    int activation;
};

template <int W>
__device__ __forceinline__ void backward_sums(const NormBackwardParams &p)
{
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    Vector<W> mean = {}, scale = {};
    if (c.inside) {
        const float *saved = p.saved + 2 * blockIdx.z * p.features + c.feature;
        mean = load<W>(saved);
        scale = load<W>(saved + p.features);
    }
    const int start = c.group_row * p.features + c.feature;
    Vector<W> sums[2] = {};
#pragma unroll 4
    for (int row = c.first; row < c.end; row += c.step) {
        const int at = start + row * p.features;
        const Vector<W> u = load<W>(p.u + at), y = load<W>(p.y + at);
        Vector<W> dy = load<W>(p.dy + at);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            dy.v[i] *= slope(p.activation, y.v[i]);
            sums[0].v[i] += dy.v[i];
            sums[1].v[i] += dy.v[i] * ((u.v[i] - mean.v[i]) * scale.v[i]);
        }
        store(p.dy + at, dy);
    }
    sum_rows(sums);
    if (threadIdx.y == 0 && c.inside) {
        float *to = p.sums + 2 * (blockIdx.z * gridDim.x + blockIdx.x) * p.features + c.feature;
        store(to, sums[0]);
        store(to + p.features, sums[1]);
    }
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_backward_sums_x1(const NormBackwardParams p)
{
    backward_sums<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_backward_sums_x4(const NormBackwardParams p)
{
    backward_sums<4>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_backward_apply_x1(const NormBackwardParams p)
{
    norm_backward_apply<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_backward_apply_x4(const NormBackwardParams p)
{
    norm_backward_apply<4>(p);
}

struct NormBackwardMergeParams {
    const float *partial;  // [groups, chunks, 2, features]
    float *sums;           // [groups, 2, features]
    float *gradient;       // [2, features]: of gamma and beta; null where nobody wants them
    int features;
    int chunks;
    int groups;
    int accumulate;  // adds to the gradients instead of setting them
};

extern "C" __global__ void __launch_bounds__(MERGE_THREADS)
    norm_backward_merge(const NormBackwardMergeParams p)
{
    const int feature = blockIdx.x * blockDim.x + threadIdx.x;
    const bool inside = feature < p.features;
    const bool writes = inside && threadIdx.y == 0;
    const int last = inside ? p.chunks : 0;
    double all_plain = 0.0, all_weighted = 0.0;
    for (int group = 0; group < p.groups; ++group) {
        const float *partial = p.partial + 2 * group * p.chunks * p.features + feature;
        double plain = 0.0, weighted = 0.0;
#pragma unroll 8
        for (int chunk = threadIdx.y; chunk < last; chunk += blockDim.y) {
            plain += partial[2 * chunk * p.features];
            weighted += partial[(2 * chunk + 1) * p.features];
        }
        plain = merge_rows(plain);
        weighted = merge_rows(weighted);
        all_plain += plain;
        all_weighted += weighted;
        if (writes) {
            float *sums = p.sums + 2 * group * p.features + feature;
            sums[0] = static_cast<float>(plain);
            sums[p.features] = static_cast<float>(weighted);
        }
    }
    if (writes && p.gradient != nullptr) {
        float *gamma = p.gradient + feature, *beta = gamma + p.features;
        *gamma = static_cast<float>(all_weighted + (p.accumulate ? *gamma : 0.0f));
        *beta = static_cast<float>(all_plain + (p.accumulate ? *beta : 0.0f));
    }
}
