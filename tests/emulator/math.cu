// Elementary functions as nvcc expands them.
// Mapping: one thread an element.
// Tests: libdevice's expansions: approximate instructions and their corrections, the slow path of
// large arguments of sine and cosine (local memory, 64-bit products), f64 polynomials, denormals.
// targets: sm_80 sm_90a

// out[i][0..12]; x may be any finite number, p is positive.
extern "C" __global__ void functions(int n, const float* __restrict__ x, const float* __restrict__ p,
                                     float* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float u = x[i], v = p[i], *mine = out + 12 * i;
    mine[0] = sinf(u);
    mine[1] = cosf(u);
    mine[2] = tanhf(u);
    mine[3] = expf(u);
    mine[4] = expm1f(u);
    mine[5] = logf(v);
    mine[6] = log1pf(v);
    mine[7] = sqrtf(v);
    mine[8] = rsqrtf(v);
    mine[9] = powf(v, 0.7f);
    mine[10] = 1.0f / v;
    mine[11] = atan2f(u, v);
}

// out[i][0..5]
extern "C" __global__ void functions64(int n, const double* __restrict__ x, const double* __restrict__ p,
                                       double* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double u = x[i], v = p[i], *mine = out + 5 * i;
    mine[0] = exp(u);
    mine[1] = log(v);
    mine[2] = sqrt(v);
    mine[3] = u / v;
    mine[4] = rsqrt(v);
}

// The fast forms, out[i][0..6], for moderate x.
extern "C" __global__ void fast_functions(int n, const float* __restrict__ x, const float* __restrict__ p,
                                          float* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float u = x[i], v = p[i], *mine = out + 6 * i;
    mine[0] = __sinf(u);
    mine[1] = __cosf(u);
    mine[2] = __expf(u);
    mine[3] = __logf(v);
    mine[4] = __fdividef(u, v);
    mine[5] = __frsqrt_rn(v);
}
