// The tiled product of dense.cu, of operands and results of any types that `load_four`, `store_four` and
// `value` are given for: those for f32 are here, others come before this file is included.
//
// Mapping: a block of 256 threads makes a tile of 64 x 64 values of C [m, n] = A [m, k] B [k, n]; a
// thread 4 x 4 of them, row by row of k from shared memory, while the next 16 rows of k are on
// their way in registers. blockIdx.x is the tile along n, y that along m, z the part of the sum.
// Shared memory: 8.5 KiB, rows padded by 4 values so that transposing stores meet few conflicts.
#pragma once

#include "activation.cuh"

template <class A, class B, class C>
struct DenseParams {
    const A *a;
    const B *b;
    const float *bias;  // [n]; may be null
    C *c;               // [parts, m, n]
    int m;
    int n;
    int k;
    int part;        // length of the sum's parts, a multiple of 16
    int vectors;     // bit 0: A can be read four values at a time; bit 1: B
    int activation;
    int accumulate;  // adds to C instead of setting it
    int unused;
};

constexpr int TILE = 64;
constexpr int STEP = 16;
constexpr int PITCH = TILE + 4;

__device__ __forceinline__ float value(float x)
{
    return x;
}

__device__ __forceinline__ float4 load_four(const float *from)
{
    return *reinterpret_cast<const float4 *>(from);
}

__device__ __forceinline__ void store_four(float *to, float4 x)
{
    *reinterpret_cast<float4 *>(to) = x;
}

__device__ __forceinline__ void store_one(float *to, float x)
{
    *to = x;
}

// Values `at .. at + 4` of a line of `len` values, zero beyond its end.
template <class T>
__device__ __forceinline__ float4 load_four(const T *line, int at, int len, bool vector)
{
    if (vector && at + 4 <= len) {
        return load_four(line + at);
    }
    float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    x.x = at < len ? value(line[at]) : 0.0f;
    x.y = at + 1 < len ? value(line[at + 1]) : 0.0f;
    x.z = at + 2 < len ? value(line[at + 2]) : 0.0f;
    x.w = at + 3 < len ? value(line[at + 3]) : 0.0f;
    return x;
}

// One operand: `lines` by k values. Sums run along its rows (ALONG: element [line][k]) or down its
// columns (element [k][line]).
template <class T, bool ALONG>
struct Operand {
    const T *from;
    int lines;
    int pitch;
    int first;  // line of the tile
    bool vector;

    // This thread's four values of the step at `k`; nothing from `end` on counts.
    __device__ __forceinline__ float4 fetch(int k, int end) const
    {
        const int thread = threadIdx.x;
        if constexpr (ALONG) {
            const int line = first + thread / 4;
            const bool inside = line < lines;
            return load_four(from + static_cast<size_t>(inside ? line : 0) * pitch,
                             k + thread % 4 * 4, inside ? end : 0, vector);
        } else {
            const int row = k + thread / 16;
            const bool inside = row < end;
            return load_four(from + static_cast<size_t>(inside ? row : 0) * pitch,
                             first + thread % 16 * 4, inside ? lines : 0, vector);
        }
    }

    // Puts what was fetched to [k][line].
    static __device__ __forceinline__ void put(float (*tile)[PITCH], float4 x)
    {
        const int thread = threadIdx.x;
        if constexpr (ALONG) {
            const int line = thread / 4, k = thread % 4 * 4;
            tile[k][line] = x.x;
            tile[k + 1][line] = x.y;
            tile[k + 2][line] = x.z;
            tile[k + 3][line] = x.w;
        } else {
            *reinterpret_cast<float4 *>(&tile[thread / 16][thread % 16 * 4]) = x;
        }
    }
};

__device__ __forceinline__ float4 at_tile(const float *row, int i)
{
    return *reinterpret_cast<const float4 *>(row + i);
}

template <bool A_ALONG, bool B_ALONG, class A, class B, class C>
__device__ __forceinline__ void product(const DenseParams<A, B, C> &p)
{
    __shared__ alignas(16) float a_tile[STEP][PITCH];
    __shared__ alignas(16) float b_tile[STEP][PITCH];
    const int row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    const Operand<A, A_ALONG> a = {p.a, p.m, A_ALONG ? p.k : p.m, row, (p.vectors & 1) != 0};
    const Operand<B, B_ALONG> b = {p.b, p.n, B_ALONG ? p.k : p.n, column, (p.vectors & 2) != 0};
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    const int start = blockIdx.z * p.part;
    const int end = min(start + p.part, p.k);

    float sums[4][4] = {};
    float4 next_a = a.fetch(start, end), next_b = b.fetch(start, end);
    for (int k = start; k < end; k += STEP) {
        a.put(a_tile, next_a);
        b.put(b_tile, next_b);
        __syncthreads();
        if (k + STEP < end) {
            next_a = a.fetch(k + STEP, end);
            next_b = b.fetch(k + STEP, end);
        }
#pragma unroll
        for (int i = 0; i < STEP; ++i) {
            const float4 u = at_tile(a_tile[i], 4 * ty), v = at_tile(b_tile[i], 4 * tx);
            const float left[4] = {u.x, u.y, u.z, u.w}, right[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int y = 0; y < 4; ++y) {
#pragma unroll
                for (int x = 0; x < 4; ++x) {
                    sums[y][x] += left[y] * right[x];
                }
            }
        }
        __syncthreads();
    }

    const int n = column + 4 * tx;
    float offsets[4] = {};
#pragma unroll
    for (int x = 0; p.bias != nullptr && x < 4; ++x) {
        offsets[x] = n + x < p.n ? p.bias[n + x] : 0.0f;
    }
    const bool vector = p.n % 4 == 0 && reinterpret_cast<size_t>(p.c) % (4 * sizeof(C)) == 0;
#pragma unroll
    for (int y = 0; y < 4; ++y) {
        const int m = row + 4 * ty + y;
        if (m >= p.m) {
            continue;
        }
        C *c = p.c + (static_cast<size_t>(blockIdx.z) * p.m + m) * p.n + n;
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            if (n + x < p.n) {
                const float old = p.accumulate ? value(c[x]) : 0.0f;
                sums[y][x] = activate(p.activation, sums[y][x] + offsets[x]) + old;
            }
        }
        if (vector && n + 4 <= p.n) {
            store_four(c, make_float4(sums[y][0], sums[y][1], sums[y][2], sums[y][3]));
            continue;
        }
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            if (n + x < p.n) {
                store_one(c + x, sums[y][x]);
            }
        }
    }
}
