// Batch norm over rows of f32 or bf16: see columns.cuh for the mapping. A thread keeps its features'
// statistics in registers and has several rows in flight.
#pragma once

#include "activation.cuh"
#include "columns.cuh"

// What a thread knows of W features of a batch norm.
template <int W>
struct Normalised {
    Vector<W> mean;
    Vector<W> scale;

    // From the thread's first feature on in `saved [2, features]`.
    __device__ __forceinline__ void read(const float *saved, int features)
    {
        mean = load_once<W>(saved);
        scale = load_once<W>(saved + features);
    }

    __device__ __forceinline__ float of(float u, int i) const
    {
        return (u - mean.v[i]) * scale.v[i];
    }
};

// The same with what follows: gamma xhat + beta.
template <int W>
struct Affine {
    Normalised<W> normalised;
    Vector<W> gamma;
    Vector<W> beta;

    __device__ __forceinline__ void read(const float *saved, const float *affine, int features)
    {
        normalised.read(saved, features);
        gamma = load_once<W>(affine);
        beta = load_once<W>(affine + features);
    }

    __device__ __forceinline__ float of(float u, int i) const
    {
        return fmaf(normalised.of(u, i), gamma.v[i], beta.v[i]);
    }
};

// y = activation(gamma (u - mean) scale + beta).
template <int W, class Params>
__device__ __forceinline__ void norm_apply(const Params &p)
{
    constexpr int ROWS = 4;
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    if (!c.inside) {
        return;
    }
    Affine<W> affine;
    affine.read(p.saved + 2 * blockIdx.z * p.features + c.feature, p.affine + c.feature,
                p.features);
    const int start = c.group_row * p.features + c.feature;
    for_activation(p.activation, [&](auto activation) {
        for (int first = c.first; first < c.end; first += ROWS * c.step) {
            decltype(load_packed<W>(p.u)) packed[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const int row = first + r * c.step;
                if (row < c.end) {
                    packed[r] = load_packed<W>(p.u + start + row * p.features);
                }
            }
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const int row = first + r * c.step;
                if (row < c.end) {
                    Vector<W> x = packed[r].values();
#pragma unroll
                    for (int i = 0; i < W; ++i) {
                        x.v[i] = activate(decltype(activation)::value, affine.of(x.v[i], i));
                    }
                    store(p.y + start + row * p.features, x);
                }
            }
        }
    });
}

// dy = gamma scale (dy - mean(dy) - xhat mean(dy xhat)), xhat being the normalised value and `sums`
// those of dy and dy xhat.
template <int W, class Params>
__device__ __forceinline__ void norm_backward_apply(const Params &p)
{
    constexpr int ROWS = 2;
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    if (!c.inside) {
        return;
    }
    Normalised<W> normalised;
    normalised.read(p.saved + 2 * blockIdx.z * p.features + c.feature, p.features);
    const float *sums = p.sums + 2 * blockIdx.z * p.features + c.feature;
    const Vector<W> gamma = load_once<W>(p.gamma + c.feature);
    Vector<W> plain = load_once<W>(sums), weighted = load_once<W>(sums + p.features);
#pragma unroll
    for (int i = 0; i < W; ++i) {
        plain.v[i] /= static_cast<float>(p.rows);
        weighted.v[i] /= static_cast<float>(p.rows);
    }
    const int start = c.group_row * p.features + c.feature;
    for (int first = c.first; first < c.end; first += ROWS * c.step) {
        decltype(load_packed<W>(p.u)) packed_u[ROWS], packed_dy[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const int row = first + r * c.step;
            if (row < c.end) {
                packed_u[r] = load_packed<W>(p.u + start + row * p.features);
                packed_dy[r] = load_packed<W>(p.dy + start + row * p.features);
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const int row = first + r * c.step;
            if (row < c.end) {
                const Vector<W> u = packed_u[r].values();
                Vector<W> dy = packed_dy[r].values();
#pragma unroll
                for (int i = 0; i < W; ++i) {
                    const float xhat = normalised.of(u.v[i], i);
                    const float centred = dy.v[i] - (plain.v[i] + xhat * weighted.v[i]);
                    dy.v[i] = gamma.v[i] * normalised.scale.v[i] * centred;
                }
                store(p.dy + start + row * p.features, dy);
            }
        }
    }
}
