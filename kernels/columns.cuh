// Passes over rows of `features` values: `columns` of src/backend/gpu/ops/columns.rs sets the
// geometry.
//
// A block of 256 threads is `lanes` wide (a power of two up to 32), 256 / lanes rows high. A lane
// holds W adjacent features, so that a warp reads whole stretches of memory. blockIdx.x is the
// chunk of rows, blockIdx.y the tile of features, blockIdx.z the group of rows.
#pragma once

#include "vector.cuh"

constexpr int COLUMN_THREADS = 256;

// What a thread works on.
struct Columns {
    int feature;     // its first one
    int first;       // its rows in the group: first, first + step, ... below end
    int end;
    int step;
    int group_row;   // the group's first row
    bool inside;     // whether the features are there; otherwise it has no rows
};

__device__ __forceinline__ Columns columns(int rows, int features, int chunk, int width)
{
    Columns c;
    c.feature = (blockIdx.y * blockDim.x + threadIdx.x) * width;
    c.inside = c.feature < features;
    c.first = blockIdx.x * chunk + threadIdx.y;
    c.end = c.inside ? min(static_cast<int>(blockIdx.x + 1) * chunk, rows) : 0;
    c.step = blockDim.y;
    c.group_row = blockIdx.z * rows;
    return c;
}

// Adds the sums of a block's rows, as a tree whose shape is that of the block; the first row of
// threads has the result.
template <int W, int SUMS>
__device__ __forceinline__ void sum_rows(Vector<W> (&sums)[SUMS])
{
    __shared__ Vector<W> shared[SUMS][COLUMN_THREADS];
    const unsigned own = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int s = 0; s < SUMS; ++s) {
        shared[s][own] = sums[s];
    }
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
#pragma unroll
            for (int s = 0; s < SUMS; ++s) {
                const Vector<W> other = shared[s][own + half * blockDim.x];
#pragma unroll
                for (int i = 0; i < W; ++i) {
                    sums[s].v[i] += other.v[i];
                }
                shared[s][own] = sums[s];
            }
        }
    }
}

// The merging of chunks: a block is blockDim.x features wide, and row y of it takes the chunks
// y, y + blockDim.y, ... Gives the sum of `sum` over the rows of the block to all threads.
constexpr int MERGE_THREADS = 512;

__device__ __forceinline__ double merge_rows(double sum)
{
    __shared__ double shared[MERGE_THREADS];
    if (blockDim.y == 1) {
        return sum;
    }
    __syncthreads();
    shared[threadIdx.y * blockDim.x + threadIdx.x] = sum;
    __syncthreads();
    double total = 0.0;
    for (unsigned row = 0; row < blockDim.y; ++row) {
        total += shared[row * blockDim.x + threadIdx.x];
    }
    return total;
}
