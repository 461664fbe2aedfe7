// bf16 in memory and on tensor cores: what the kernels of compute capability 8.0 and later share.
//
// Values are bf16 where tensors are stored, f32 where they are computed with. f32 becomes bf16 by
// rounding to nearest, ties to even; NaN stays NaN.
#pragma once

struct bf16 {
    unsigned short bits;
};

__device__ __forceinline__ float widen(bf16 x)
{
    return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}

__device__ __forceinline__ bf16 narrow(float x)
{
    bf16 half;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half.bits) : "f"(x));
    return half;
}

// x rounded to bf16.
__device__ __forceinline__ float rounded(float x)
{
    return widen(narrow(x));
}

// Two bf16 in a word: the lower half is the one at the lower address.
__device__ __forceinline__ unsigned narrow2(float low, float high)
{
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

__device__ __forceinline__ float widen_low(unsigned pair)
{
    return __uint_as_float(pair << 16);
}

__device__ __forceinline__ float widen_high(unsigned pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

// W adjacent values of a row of bf16, widened: 8 where all pointers and rows are multiples of 16
// bytes (the host looks), 2 where they are multiples of 4 bytes, else 1.
template <int W>
struct Wide {
    float v[W];
};

template <int W>
__device__ __forceinline__ Wide<W> load_half(const bf16 *from)
{
    static_assert(W == 1 || W == 2 || W == 8, "1, 2 or 8 values");
    Wide<W> wide;
    if constexpr (W == 8) {
        const uint4 q = *reinterpret_cast<const uint4 *>(from);
        const unsigned words[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            wide.v[2 * i] = widen_low(words[i]);
            wide.v[2 * i + 1] = widen_high(words[i]);
        }
    } else if constexpr (W == 2) {
        const unsigned pair = *reinterpret_cast<const unsigned *>(from);
        wide.v[0] = widen_low(pair);
        wide.v[1] = widen_high(pair);
    } else {
        wide.v[0] = widen(*from);
    }
    return wide;
}

template <int W>
__device__ __forceinline__ void store_half(bf16 *to, const Wide<W> &wide)
{
    static_assert(W == 1 || W == 2 || W == 8, "1, 2 or 8 values");
    if constexpr (W == 8) {
        *reinterpret_cast<uint4 *>(to) =
            make_uint4(narrow2(wide.v[0], wide.v[1]), narrow2(wide.v[2], wide.v[3]),
                       narrow2(wide.v[4], wide.v[5]), narrow2(wide.v[6], wide.v[7]));
    } else if constexpr (W == 2) {
        *reinterpret_cast<unsigned *>(to) = narrow2(wide.v[0], wide.v[1]);
    } else {
        *to = narrow(wide.v[0]);
    }
}

// The address in shared memory as the instructions below take it.
__device__ __forceinline__ unsigned shared_address(const void *pointer)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Copies 16 bytes to shared memory behind the thread's back; where `exists` is false they are zeros
// and nothing is read, though `from` must still be a multiple of 16 bytes.
__device__ __forceinline__ void copy_async16(unsigned to, const void *from, bool exists)
{
    const unsigned bytes = exists ? 16 : 0;
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(bytes)
                 : "memory");
}

// The same for 4 bytes, of which the first `bytes` are read and zeros follow.
__device__ __forceinline__ void copy_async4(unsigned to, const void *from, unsigned bytes)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}

// Ends a group of this thread's copies.
__device__ __forceinline__ void commit_copies()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until all but the last LEFT groups of this thread's copies have landed. Other threads see
// them after a barrier.
template <int LEFT>
__device__ __forceinline__ void wait_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// Matrices of 8 x 8 bf16: lane 8 j + i gives the address of row i (16 bytes) of matrix j; lane
// 4 g + t gets columns 2 t and 2 t + 1 of row g of each.
__device__ __forceinline__ void load_matrices(unsigned (&matrices)[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void load_matrices(unsigned (&matrices)[2], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(matrices[0]), "=r"(matrices[1])
                 : "r"(address)
                 : "memory");
}

// The transposes: lane 4 g + t gets rows 2 t and 2 t + 1 of column g.
__device__ __forceinline__ void load_transposed(unsigned (&matrices)[4], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void load_transposed(unsigned (&matrices)[2], unsigned address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(matrices[0]), "=r"(matrices[1])
                 : "r"(address)
                 : "memory");
}

// sum += a b, of 16 x 16 by 16 x 8 values. Lane 4 g + t holds
//   of a    columns 2 t, 2 t + 1 of rows g and g + 8, then columns 2 t + 8, 2 t + 9 of the same;
//   of b    rows 2 t, 2 t + 1, then rows 2 t + 8, 2 t + 9, of column g;
//   of sum  columns 2 t, 2 t + 1 of row g, then of row g + 8.
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
