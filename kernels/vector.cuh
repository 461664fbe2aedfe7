// W adjacent values that a thread moves at once: as many as make 16 bytes, 4 f32 or 8 bf16, where
// all pointers and rows are multiples of 16 bytes (the host looks), else 1.
#pragma once

template <int W>
struct alignas(sizeof(float) * W) Vector {
    float v[W];
};

template <int W>
__device__ __forceinline__ Vector<W> load(const float *from)
{
    static_assert(W == 1 || W == 4 || W == 8, "a vector has 1, 4 or 8 values");
    if constexpr (W == 8) {
        const float4 *quads = reinterpret_cast<const float4 *>(from);
        const float4 q = quads[0], r = quads[1];
        return {{q.x, q.y, q.z, q.w, r.x, r.y, r.z, r.w}};
    } else if constexpr (W == 4) {
        const float4 q = *reinterpret_cast<const float4 *>(from);
        return {{q.x, q.y, q.z, q.w}};
    } else {
        return {{*from}};
    }
}

template <int W>
__device__ __forceinline__ void store(float *to, const Vector<W> &x)
{
    if constexpr (W == 8) {
        float4 *quads = reinterpret_cast<float4 *>(to);
        quads[0] = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
        quads[1] = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
    } else if constexpr (W == 4) {
        *reinterpret_cast<float4 *>(to) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    } else {
        *to = x.v[0];
    }
}

// The same where the pointer may be a multiple of 4 bytes only, as one into the midst of a network's
// parameters is: for what a thread moves once.
template <int W>
__device__ __forceinline__ Vector<W> load_once(const float *from)
{
    if constexpr (W > 1) {
        if (reinterpret_cast<size_t>(from) % 16 != 0) {
            Vector<W> x;
#pragma unroll
            for (int i = 0; i < W; ++i) {
                x.v[i] = from[i];
            }
            return x;
        }
    }
    return load<W>(from);
}

template <int W>
__device__ __forceinline__ void store_once(float *to, const Vector<W> &x)
{
    if constexpr (W > 1) {
        if (reinterpret_cast<size_t>(to) % 16 != 0) {
#pragma unroll
            for (int i = 0; i < W; ++i) {
                to[i] = x.v[i];
            }
            return;
        }
    }
    store(to, x);
}

// W adjacent values as they lie in memory, for threads that have many in flight: bf16 take half the
// registers before they are widened.
template <class T, int W>
struct Packed;

template <int W>
struct Packed<float, W> {
    Vector<W> x;

    __device__ __forceinline__ Vector<W> values() const
    {
        return x;
    }
};

template <int W>
__device__ __forceinline__ Packed<float, W> load_packed(const float *from)
{
    return {load<W>(from)};
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
