// The block that a gradient flows back into: with dy the gradient of its output, g = dy slope, rounded
// to bf16, and the sums of g and g xhat of what a thread has made.
#pragma once

#include "half_vector.cuh"

#include "norm.cuh"

// NORM: the block has a batch norm, and its value is the linear output u; otherwise it is the output.
template <int W, bool NORM>
struct Below {
    Affine<W> affine;
    Vector<W> sums[2] = {};

    __device__ __forceinline__ void read(const float *saved, const float *parameters, int features)
    {
        if constexpr (NORM) {
            affine.read(saved, parameters, features);
        }
    }

    template <int ACTIVATION>
    __device__ __forceinline__ Vector<W> gradient(const Vector<W> &dy, const Vector<W> &value)
    {
        Vector<W> g;
#pragma unroll
        for (int i = 0; i < W; ++i) {
            float y = value.v[i];
            if constexpr (NORM) {
                y = activate(ACTIVATION, affine.of(y, i));
            }
            g.v[i] = rounded(dy.v[i] * slope(ACTIVATION, y));
            sums[0].v[i] += g.v[i];
            if constexpr (NORM) {
                sums[1].v[i] += g.v[i] * affine.normalised.of(value.v[i], i);
            }
        }
        return g;
    }

    // Adds the sums of a block's rows and stores them as `to [2, features]`, from the thread's first
    // feature on.
    __device__ __forceinline__ void store_sums(float *to, int features, bool inside)
    {
        sum_rows(sums);
        if (threadIdx.y == 0 && inside) {
            store_once(to, sums[0]);
            store_once(to + features, sums[1]);
        }
    }
};
