// W adjacent values that a thread moves at once: 4 where all pointers and rows are multiples of 16
// bytes (the host looks), else 1.
#pragma once

template <int W>
struct alignas(sizeof(float) * W) Vector {
    float v[W];
};

template <int W>
__device__ __forceinline__ Vector<W> load(const float *from)
{
    static_assert(W == 1 || W == 4, "a vector has 1 or 4 values");
    if constexpr (W == 4) {
        const float4 q = *reinterpret_cast<const float4 *>(from);
        return {{q.x, q.y, q.z, q.w}};
    } else {
        return {{*from}};
    }
}

template <int W>
__device__ __forceinline__ void store(float *to, const Vector<W> &x)
{
    if constexpr (W == 4) {
        *reinterpret_cast<float4 *>(to) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    } else {
        *to = x.v[0];
    }
}

// Runs work(index, width) for this thread's part of `len` values: the first `vectors` threads take
// four values each, the others one. `vectors` is len / 4 or, where pointers are not aligned, 0.
template <class Work>
__device__ __forceinline__ void elementwise(unsigned len, unsigned vectors, Work work)
{
    const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread < vectors) {
        work(4 * thread, Vector<4>{});
    } else if (3 * vectors + thread < len) {
        work(3 * vectors + thread, Vector<1>{});
    }
}
