// One Adam step over a flat arena of n parameters.
// Mapping: one thread a parameter, grid-stride.
// Tests: IEEE division and square root, explicit rounding steps, values that change every step read
// from device memory, a by-value struct of mixed fields.
// targets: sm_80 sm_90a

struct AdamArguments {
    float* parameters;
    const float* gradients;
    float* first;
    float* second;
    // learning rate, 1 - beta1^t, 1 - beta2^t
    const float* scalars;
    float beta1, beta2, epsilon;
    unsigned long long n;
};

extern "C" __global__ void adam(const AdamArguments p) {
    float rate = p.scalars[0], correction1 = p.scalars[1], correction2 = p.scalars[2];
    for (unsigned long long i = blockIdx.x * blockDim.x + threadIdx.x; i < p.n;
         i += (unsigned long long)gridDim.x * blockDim.x) {
        float g = p.gradients[i];
        float m = __fmaf_rn(p.beta1, p.first[i], __fmul_rn(1.0f - p.beta1, g));
        float v = __fmaf_rn(p.beta2, p.second[i], __fmul_rn(__fmul_rn(1.0f - p.beta2, g), g));
        p.first[i] = m;
        p.second[i] = v;
        float scale = __fadd_rn(__fsqrt_rn(__fdiv_rn(v, correction2)), p.epsilon);
        float step = __fdiv_rn(__fdiv_rn(m, correction1), scale);
        p.parameters[i] = __fmaf_rn(-rate, step, p.parameters[i]);
    }
}
