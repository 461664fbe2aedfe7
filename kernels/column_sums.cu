// targets: sm_75
//
// Sums of each column of [rows, features], the gradient of a bias: by chunks of rows;
// sum_partials adds the chunks, unless there is one only.
//
// Mapping: see columns.cuh. Memory-bound: 4 bytes a value. Shared memory: 4 KiB.

#include "columns.cuh"

struct ColumnSumsParams {
    const float *values;  // [rows, features]
    float *sums;          // [chunks, features]; the result if there is one chunk
    int rows;
    int features;
    int chunk;
    int accumulate;  // adds instead of setting
};

template <int W>
__device__ __forceinline__ void sum_columns(const ColumnSumsParams &p)
{
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    const float *values = p.values + c.feature;
    Vector<W> sums[1] = {};
#pragma unroll 8
    for (int row = c.first; row < c.end; row += c.step) {
        const Vector<W> x = load<W>(values + row * p.features);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            sums[0].v[i] += x.v[i];
        }
    }
    sum_rows(sums);
    if (threadIdx.y == 0 && c.inside) {
        float *to = p.sums + blockIdx.x * p.features + c.feature;
        if (p.accumulate) {
            const Vector<W> old = load<W>(to);
#pragma unroll
            for (int i = 0; i < W; ++i) {
                sums[0].v[i] += old.v[i];
            }
        }
        store(to, sums[0]);
    }
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) column_sums_x1(const ColumnSumsParams p)
{
    sum_columns<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS) column_sums_x4(const ColumnSumsParams p)
{
    sum_columns<4>(p);
}
