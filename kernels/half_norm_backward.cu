// targets: sm_80
//
// The backward pass of bf16 blocks, where the kernel that makes the gradient does not end it: dy times
// the activation's slope in place, with the sums that batch norm or bias need by chunks of rows, which
// half_norm_merge adds; then the gradient of the linear output in place of that. What norm_backward
// does for f32, but that the slope is taken from the linear output: the output itself is not read.
//
// Mapping: see columns.cuh, a thread having 8 features (16 bytes), else 1. Memory-bound: 6 bytes a
// value, each pass. Shared memory of the first: 16 KiB (x8), 2 KiB (x1).

#include "half_below.cuh"

struct HalfGradientParams {
    bf16 *g;              // [groups, rows, features]: dy, then g
    const bf16 *value;    // the linear output where there is a batch norm, else the output
    const float *saved;   // [groups, 2, features]: mean, scale
    const float *affine;  // [2, features]: gamma, beta
    float *sums;          // [groups, chunks, 2, features]; may be null
    int rows;
    int features;
    int chunk;
    int activation;
};

template <int W, bool NORM>
__device__ __forceinline__ void gradient(const HalfGradientParams &p)
{
    constexpr int ROWS = 4;
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    Below<W, NORM> below;
    if (c.inside) {
        below.read(p.saved + 2 * blockIdx.z * p.features + c.feature, p.affine + c.feature,
                   p.features);
    }
    const int start = c.group_row * p.features + c.feature;
    for_activation(p.activation, [&](auto activation) {
        for (int first = c.first; first < c.end; first += ROWS * c.step) {
            Packed<bf16, W> dy[ROWS], value[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const int row = first + r * c.step;
                if (row < c.end) {
                    dy[r] = load_packed<W>(p.g + start + row * p.features);
                    value[r] = load_packed<W>(p.value + start + row * p.features);
                }
            }
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const int row = first + r * c.step;
                if (row < c.end) {
                    const Vector<W> g = below.template gradient<decltype(activation)::value>(
                        dy[r].values(), value[r].values());
                    // Where dy is g, the sums are all that is wanted.
                    if (NORM || decltype(activation)::value != IDENTITY) {
                        store(p.g + start + row * p.features, g);
                    }
                }
            }
        }
    });
    if (p.sums != nullptr) {
        const int part = blockIdx.z * gridDim.x + blockIdx.x;
        below.store_sums(p.sums + 2 * part * p.features + c.feature, p.features, c.inside);
    }
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_gradient_x1(const HalfGradientParams p)
{
    gradient<1, false>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_gradient_x8(const HalfGradientParams p)
{
    gradient<8, false>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_gradient_x1(const HalfGradientParams p)
{
    gradient<1, true>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_gradient_x8(const HalfGradientParams p)
{
    gradient<8, true>(p);
}

struct HalfNormBackwardParams {
    bf16 *dy;            // [groups, rows, features]: g, then du
    const bf16 *u;
    const float *saved;  // [groups, 2, features]: mean, scale
    const float *gamma;  // [features]
    const float *sums;   // [groups, 2, features]: of g, of g xhat
    int rows;
    int features;
    int chunk;
    int unused;
};

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_backward_x1(const HalfNormBackwardParams p)
{
    norm_backward_apply<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)
    half_norm_backward_x8(const HalfNormBackwardParams p)
{
    norm_backward_apply<8>(p);
}
