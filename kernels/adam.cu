// targets: sm_75
//
// One Adam update of a network's flat parameters, and of the exponential moving average of them where
// there is one.
//
// Mapping: a thread takes four adjacent values, or one where pointers are not aligned and at the
// end (see vector.cuh). No shared memory. Memory-bound: 28 bytes a parameter, 8 more with an average.

#include "step_values.cuh"
#include "vector.cuh"

struct AdamParams {
    float *parameters;
    const float *gradient;
    float *first;
    float *second;
    float *average;  // may be null
    const StepValues *values;
    unsigned len;
    unsigned vectors;
    unsigned which;  // 0 generator, 1 discriminator
    float beta1;
    float beta2;
    float rest1;  // 1 - beta1
    float rest2;  // 1 - beta2
    unsigned unused;
};

extern "C" __global__ void __launch_bounds__(256) adam(const AdamParams p)
{
    const AdamValues now = p.values->adam[p.which];
    const float decay = p.values->average_decay, rest = p.values->average_rest;
    elementwise(p.len, p.vectors, [&](unsigned at, auto shape) {
        constexpr int W = sizeof(shape) / sizeof(float);
        const Vector<W> gradient = load<W>(p.gradient + at);
        Vector<W> first = load<W>(p.first + at);
        Vector<W> second = load<W>(p.second + at);
        Vector<W> parameters = load<W>(p.parameters + at);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            const float g = gradient.v[i];
            const float m = p.beta1 * first.v[i] + p.rest1 * g;
            const float v = p.beta2 * second.v[i] + p.rest2 * g * g;
            first.v[i] = m;
            second.v[i] = v;
            parameters.v[i] -= now.scale * m / (sqrtf(v) + now.epsilon);
        }
        store(p.first + at, first);
        store(p.second + at, second);
        store(p.parameters + at, parameters);
        if (p.average != nullptr) {
            Vector<W> average = load<W>(p.average + at);
#pragma unroll
            for (int i = 0; i < W; ++i) {
                average.v[i] = decay * average.v[i] + rest * parameters.v[i];
            }
            store(p.average + at, average);
        }
    });
}
