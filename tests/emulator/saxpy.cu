// y = a x + y in five forms.
// Mapping: one thread an element (a float4 in saxpy_float4), a one-dimensional grid.
// Tests: guards at ragged ends, vector and strided accesses, ld.global.nc, arguments passed by value
// in a struct, a grid-stride loop.
// targets: sm_75 sm_80 sm_90a

struct SaxpyArguments {
    const float* x;
    float* y;
    int n;
    float a;
};

extern "C" __global__ void saxpy(int n, float a, const float* __restrict__ x, float* __restrict__ y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = fmaf(a, x[i], y[i]);
}

// n counts float4s.
extern "C" __global__ void saxpy_float4(int n, float a, const float4* __restrict__ x,
                                        float4* __restrict__ y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float4 u = x[i], v = y[i];
    v.x = fmaf(a, u.x, v.x);
    v.y = fmaf(a, u.y, v.y);
    v.z = fmaf(a, u.z, v.z);
    v.w = fmaf(a, u.w, v.w);
    y[i] = v;
}

// Element i is at i * stride of both vectors.
extern "C" __global__ void saxpy_strided(int n, int stride, float a, const float* x, float* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        size_t at = size_t(i) * stride;
        y[at] = fmaf(a, x[at], y[at]);
    }
}

extern "C" __global__ void saxpy_struct(SaxpyArguments p) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.n) p.y[i] = fmaf(p.a, p.x[i], p.y[i]);
}

extern "C" __global__ void saxpy_grid_stride(int n, float a, const float* __restrict__ x,
                                             float* __restrict__ y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = fmaf(a, x[i], y[i]);
}
