// bfloat16 arithmetic, two values a register.
// Mapping: one thread a pair.
// Tests: bf16x2 fma and extrema, conversions of pairs, sums through f32.
// targets: sm_80 sm_90a

#include <cuda_bf16.h>

// out[i][0..4]: fma, larger, smaller, a b rounded from f32 as pairs.
extern "C" __global__ void bfloat_pairs(int n, const __nv_bfloat162* __restrict__ a,
                                        const __nv_bfloat162* __restrict__ b,
                                        const __nv_bfloat162* __restrict__ c,
                                        __nv_bfloat162* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    __nv_bfloat162 u = a[i], v = b[i], *mine = out + 4 * i;
    mine[0] = __hfma2(u, v, c[i]);
    mine[1] = __hmax2(u, v);
    mine[2] = __hmin2(u, v);
    float2 x = __bfloat1622float2(u), y = __bfloat1622float2(v);
    mine[3] = __floats2bfloat162_rn(x.x * y.x, x.y * y.y);
}

// Leaky rectification and its mask, f32 to bf16.
extern "C" __global__ void leaky_bfloat(int n, float slope, const float* __restrict__ x,
                                        __nv_bfloat16* __restrict__ y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = __float2bfloat16_rn(x[i] > 0.0f ? x[i] : slope * x[i]);
}
