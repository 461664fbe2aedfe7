// Half-precision arithmetic, two values a register.
// Mapping: one thread a pair.
// Tests: f16x2 and f16 fma, sum, product, comparison, extrema, conversions both ways.
// targets: sm_75 sm_80 sm_90a

#include <cuda_fp16.h>

// out[i][0..6]: fma, sum, product, difference, larger, a > b ? a : -b as pairs.
extern "C" __global__ void half_pairs(int n, const __half2* __restrict__ a, const __half2* __restrict__ b,
                                      const __half2* __restrict__ c, __half2* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __half2 u = a[i], v = b[i], *mine = out + 6 * i;
    mine[0] = __hfma2(u, v, c[i]);
    mine[1] = __hadd2(u, v);
    mine[2] = __hmul2(u, v);
    mine[3] = __hsub2(u, v);
    mine[4] = __halves2half2(u.x > v.x ? u.x : v.x, u.y > v.y ? u.y : v.y);
    mine[5] = __halves2half2(__hgt(u.x, v.x) ? u.x : __hneg(v.x), __hgt(u.y, v.y) ? u.y : __hneg(v.y));
}

// The sum of squares of the pairs of a row of 64 in f32, rounded to f16 once.
extern "C" __global__ void half_row_norms(int rows, const __half2* __restrict__ x, __half* __restrict__ y) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    float sum = 0.0f;
    for (int j = 0; j < 32; ++j) {
        float2 pair = __half22float2(x[row * 32 + j]);
        sum = fmaf(pair.x, pair.x, sum);
        sum = fmaf(pair.y, pair.y, sum);
    }
    y[row] = __float2half_rn(sum);
}
