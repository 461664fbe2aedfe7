// targets: sm_75
//
// Batch norm and activation: y = activation(gamma (u - mean) scale + beta).
//
// Mapping: see columns.cuh; a thread keeps its features' statistics in registers. No shared memory.
// Memory-bound: 8 bytes a value.

#include "norm.cuh"

struct NormApplyParams {
    const float *u;       // [groups, rows, features]
    const float *saved;   // [groups, 2, features]: mean, scale
    const float *affine;  // [2, features]: gamma, beta
    float *y;             // may be u
    int rows;
    int features;
    int chunk;
    int activation;
};

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) norm_apply_x1(const NormApplyParams p)
{
    norm_apply<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) norm_apply_x4(const NormApplyParams p)
{
    norm_apply<4>(p);
}
