// targets: sm_75
//
// Adds the parts of a dense layer's long sums in order, in f64, then bias and activation. (The gradients,
// which have neither, go through sum_partials.)
//
// Mapping: a block is 16 values wide, 32 rows high; a row takes every 32nd part. Shared memory:
// 4 KiB.

#include "activation.cuh"
#include "columns.cuh"

struct DenseMergeParams {
    const float *partial;  // [parts, len]
    const float *bias;     // [n]; may be null
    float *c;              // [len]
    int len;
    int n;
    int parts;
    int activation;
};

extern "C" __global__ void __launch_bounds__(MERGE_THREADS) dense_merge(const DenseMergeParams p)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    const bool inside = index < p.len;
    const int last = inside ? p.parts : 0;
    double sum = 0.0;
#pragma unroll 8
    for (int part = threadIdx.y; part < last; part += blockDim.y) {
        sum += p.partial[static_cast<size_t>(part) * p.len + index];
    }
    sum = merge_rows(sum);
    if (inside && threadIdx.y == 0) {
        if (p.bias != nullptr) {
            sum += p.bias[index % p.n];
        }
        p.c[index] = activate(p.activation, static_cast<float>(sum));
    }
}
