// targets: sm_75
//
// Batch norm and activation: y = activation(gamma (u - mean) scale + beta).
//
// Mapping: see columns.cuh; a thread keeps its features' statistics in registers. No shared memory.
// Memory-bound: 8 bytes a value.

#include "activation.cuh"
#include "columns.cuh"

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

template <int W>
__device__ __forceinline__ void apply(const NormApplyParams &p)
{
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    if (!c.inside) {
        return;
    }
    const float *saved = p.saved + 2 * blockIdx.z * p.features + c.feature;
    const Vector<W> mean = load<W>(saved), scale = load<W>(saved + p.features);
    const Vector<W> gamma = load<W>(p.affine + c.feature);
    const Vector<W> beta = load<W>(p.affine + p.features + c.feature);
    const int start = c.group_row * p.features + c.feature;
#pragma unroll 4
    for (int row = c.first; row < c.end; row += c.step) {
        Vector<W> x = load<W>(p.u + start + row * p.features);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            const float normalised = (x.v[i] - mean.v[i]) * scale.v[i];
            x.v[i] = activate(p.activation, normalised * gamma.v[i] + beta.v[i]);
        }
        store(p.y + start + row * p.features, x);
    }
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) norm_apply_x1(const NormApplyParams p)
{
    apply<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) norm_apply_x4(const NormApplyParams p)
{
    apply<4>(p);
}
