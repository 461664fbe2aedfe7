// The end of a dense layer's long sums: adds their parts in order, in f64, then bias and activation.
//
// Mapping: a block is 16 values wide, 32 rows high; a row takes every 32nd part. Shared memory:
// 4 KiB.
#pragma once

#include "activation.cuh"
#include "columns.cuh"

template <class C>
struct DenseMergeParams {
    const float *partial;  // [parts, len]
    const float *bias;     // [n]; may be null
    C *c;                  // [len]
    int len;
    int n;
    int parts;
    int activation;
};

// Calls store(to, value) for each value of C.
template <class C, class Store>
__device__ __forceinline__ void merge_parts(const DenseMergeParams<C> &p, Store store)
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
        store(p.c + index, activate(p.activation, static_cast<float>(sum)));
    }
}
