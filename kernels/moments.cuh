// Mean and centred sum of squares of each feature over rows of f32 or bf16. Never E[x^2] - E[x]^2: a
// thread takes both of DEPTH rows in registers and merges them (Chan, Golub and LeVeque 1979); so do
// the threads of a block.
#pragma once

#include "columns.cuh"

constexpr int DEPTH = 8;

template <int W>
struct Moments {
    Vector<W> mean;
    Vector<W> square;
    float count;

    __device__ __forceinline__ void merge(const Moments &other)
    {
        const float total = count + other.count;
        const float weight = total > 0.0f ? other.count / total : 0.0f;
#pragma unroll
        for (int i = 0; i < W; ++i) {
            const float delta = other.mean.v[i] - mean.v[i];
            mean.v[i] += delta * weight;
            square.v[i] += other.square.v[i] + delta * delta * (count * weight);
        }
        count = total;
    }
};

// Of the rows `row`, `row + step`, ... below `end`, DEPTH at most.
template <int W, class T>
__device__ __forceinline__ Moments<W> moments_at(const T *u, int row, int end, int step,
                                                 int features)
{
    Packed<T, W> x[DEPTH];
    Moments<W> m = {};
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
        x[d] = {};
        if (row + d * step < end) {
            x[d] = load_packed<W>(u + (row + d * step) * features);
            m.count += 1.0f;
        }
    }
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
        const Vector<W> values = x[d].values();
#pragma unroll
        for (int i = 0; i < W; ++i) {
            m.mean.v[i] += values.v[i];
        }
    }
#pragma unroll
    for (int i = 0; i < W; ++i) {
        m.mean.v[i] /= m.count;
    }
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
        if (row + d * step < end) {
            const Vector<W> values = x[d].values();
#pragma unroll
            for (int i = 0; i < W; ++i) {
                const float centred = values.v[i] - m.mean.v[i];
                m.square.v[i] += centred * centred;
            }
        }
    }
    return m;
}

// Of a block's rows of `u`; the first row of threads has the result.
template <int W, class T>
__device__ __forceinline__ Moments<W> block_moments(const T *u, const Columns &c, int features)
{
    __shared__ Moments<W> shared[COLUMN_THREADS];
    u += c.group_row * features + c.feature;
    Moments<W> own = {};
    for (int row = c.first; row < c.end; row += DEPTH * c.step) {
        own.merge(moments_at<W>(u, row, c.end, c.step, features));
    }
    const unsigned place = threadIdx.y * blockDim.x + threadIdx.x;
    shared[place] = own;
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
            own.merge(shared[place + half * blockDim.x]);
            shared[place] = own;
        }
    }
    return own;
}
