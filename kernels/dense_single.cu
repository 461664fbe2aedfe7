// targets: sm_75
//
// The dense layer with one output, where x [batch, inputs] is all that weighs:
// y = x w, dw = x^T dy, dx = dy w^T. Each value of x or dx is moved once.
//
// Mapping: a thread takes W adjacent inputs (4 where pointers are aligned). Forward: a block of 256
// threads sums 256 * W * STEPS inputs for 8 samples, w read once for all of them; dense_merge adds
// the blocks. Gradient of w: a thread runs through all samples. Gradient of x: one through 8.
// Shared memory of the forward pass: 8 KiB.

#include "vector.cuh"

struct DenseSingleParams {
    const float *x;   // [batch, inputs]; w in the gradient of x
    const float *by;  // w [inputs]; dy [batch] in the gradients
    float *to;        // [chunks, batch]; dw [inputs]; dx [batch, inputs]
    int batch;
    int inputs;
    int accumulate;  // of the gradient of w: adds instead of setting
    int unused;
};

constexpr int THREADS = 256;
constexpr int SAMPLES = 8;
constexpr int STEPS = 4;

template <int W>
__device__ __forceinline__ void forward(const DenseSingleParams &p)
{
    __shared__ float shared[SAMPLES][THREADS];
    const int chunk = THREADS * W * STEPS;
    const int sample = blockIdx.y * SAMPLES;
    const float *x = p.x + static_cast<size_t>(sample) * p.inputs;
    float sums[SAMPLES] = {};
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
        const int input = blockIdx.x * chunk + (step * THREADS + static_cast<int>(threadIdx.x)) * W;
        if (input < p.inputs) {
            const Vector<W> w = load<W>(p.by + input);
#pragma unroll
            for (int s = 0; s < SAMPLES; ++s) {
                if (sample + s < p.batch) {
                    const Vector<W> values = load<W>(x + static_cast<size_t>(s) * p.inputs + input);
#pragma unroll
                    for (int i = 0; i < W; ++i) {
                        sums[s] += values.v[i] * w.v[i];
                    }
                }
            }
        }
    }
#pragma unroll
    for (int s = 0; s < SAMPLES; ++s) {
        shared[s][threadIdx.x] = sums[s];
    }
    // From here on a warp has a sample: 8 warps, 8 samples.
    __syncthreads();
    const int own = threadIdx.x / 32, lane = threadIdx.x % 32;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < THREADS / 32; ++i) {
        sum += shared[own][32 * i + lane];
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    }
    if (lane == 0 && sample + own < p.batch) {
        p.to[blockIdx.x * p.batch + sample + own] = sum;
    }
}

template <int W>
__device__ __forceinline__ void weight_gradient(const DenseSingleParams &p)
{
    const int input = (blockIdx.x * THREADS + threadIdx.x) * W;
    if (input >= p.inputs) {
        return;
    }
    Vector<W> sum = {};
#pragma unroll 8
    for (int sample = 0; sample < p.batch; ++sample) {
        const Vector<W> x = load<W>(p.x + static_cast<size_t>(sample) * p.inputs + input);
        const float dy = p.by[sample];
#pragma unroll
        for (int i = 0; i < W; ++i) {
            sum.v[i] += x.v[i] * dy;
        }
    }
    if (p.accumulate) {
        const Vector<W> old = load<W>(p.to + input);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            sum.v[i] += old.v[i];
        }
    }
    store(p.to + input, sum);
}

template <int W>
__device__ __forceinline__ void input_gradient(const DenseSingleParams &p)
{
    const int input = (blockIdx.x * THREADS + threadIdx.x) * W;
    if (input >= p.inputs) {
        return;
    }
    const Vector<W> w = load<W>(p.x + input);
    const int first = blockIdx.y * SAMPLES;
    const int last = min(first + SAMPLES, p.batch);
    for (int sample = first; sample < last; ++sample) {
        const float dy = p.by[sample];
        Vector<W> dx;
#pragma unroll
        for (int i = 0; i < W; ++i) {
            dx.v[i] = dy * w.v[i];
        }
        store(p.to + static_cast<size_t>(sample) * p.inputs + input, dx);
    }
}

#define KERNELS(suffix, width)                                                                    \
    extern "C" __global__ void __launch_bounds__(THREADS)                                         \
        dense_single_forward##suffix(const DenseSingleParams p)                                   \
    {                                                                                             \
        forward<width>(p);                                                                        \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                         \
        dense_single_weight_gradient##suffix(const DenseSingleParams p)                           \
    {                                                                                             \
        weight_gradient<width>(p);                                                                \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                         \
        dense_single_input_gradient##suffix(const DenseSingleParams p)                            \
    {                                                                                             \
        input_gradient<width>(p);                                                                 \
    }

KERNELS(_x1, 1)
KERNELS(_x4, 4)
