// targets: sm_75
//
// Element-wise passes: fill, activation and its gradient.
//
// Mapping: a thread takes four adjacent values, or one where pointers are not aligned and at the
// end (see vector.cuh). No shared memory.

#include "activation.cuh"
#include "vector.cuh"

struct FillParams {
    float *to;
    unsigned len;
    unsigned vectors;
    float value;
    unsigned unused;
};

extern "C" __global__ void __launch_bounds__(256) fill(const FillParams p)
{
    elementwise(p.len, p.vectors, [&](unsigned at, auto x) {
        for (float &value : x.v) {
            value = p.value;
        }
        store(p.to + at, x);
    });
}

struct ActivationParams {
    float *values;   // y, or dy
    const float *y;  // of activation_gradient alone
    unsigned len;
    unsigned vectors;
    int activation;
    unsigned unused;
};

// y = activation(y)
extern "C" __global__ void __launch_bounds__(256) activate_in_place(const ActivationParams p)
{
    elementwise(p.len, p.vectors, [&](unsigned at, auto shape) {
        auto y = load<sizeof(shape) / sizeof(float)>(p.values + at);
        for (float &value : y.v) {
            value = activate(p.activation, value);
        }
        store(p.values + at, y);
    });
}

// dy = dy activation'(y)
extern "C" __global__ void __launch_bounds__(256) activation_gradient(const ActivationParams p)
{
    elementwise(p.len, p.vectors, [&](unsigned at, auto shape) {
        constexpr int W = sizeof(shape) / sizeof(float);
        const Vector<W> y = load<W>(p.y + at);
        Vector<W> dy = load<W>(p.values + at);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            dy.v[i] *= slope(p.activation, y.v[i]);
        }
        store(p.values + at, dy);
    });
}
