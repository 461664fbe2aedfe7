// targets: sm_80
//
// The dense layer with one output in mixed precision: y = x w, dw = x^T dy with x [batch, inputs] in
// bf16, w, y, dy and dw in f32. x is what a block stored, or its linear output u, which is then
// normalised, activated and rounded on the way: what dense_single does at half the bytes, and without
// the passes that would have stored x. The samples are in groups with statistics of their own.
//
// Mapping: a thread takes W adjacent inputs (8 where rows are whole 16 bytes, else 1) and keeps what
// batch norm knows of them in registers for all its samples. Forward: a block of 256 threads sums
// 256 * W * STEPS inputs for 8 samples of a group, w read once for all of them; dense_merge adds the
// blocks. Gradient: a block is 32 threads wide and 8 rows high; a row takes every 8th sample of each
// group, and the rows are added as a tree. Memory-bound: 2 bytes a value of x. Shared memory: 8 KiB
// each; of the gradient 1 KiB for W = 1.

#include "half_vector.cuh"

#include "norm.cuh"

struct HalfSingleParams {
    const bf16 *x;        // [groups, samples, inputs]; u where there is a batch norm
    const float *saved;   // [groups, 2, features]: mean, scale
    const float *affine;  // [2, features]: gamma, beta
    const float *by;      // w [inputs]; dy [groups, samples] in the gradient
    float *to;            // [chunks, groups, samples]; dw [inputs]
    int samples;          // of a group
    int groups;
    int inputs;
    int features;    // of input i is feature i % features
    int activation;
    int accumulate;  // of the gradient: adds instead of setting
};

constexpr int THREADS = COLUMN_THREADS;
constexpr int SAMPLES = 8;
constexpr int STEPS = 2;

// W adjacent inputs of a group's samples.
template <int W, bool NORM>
struct Source {
    Affine<W> affine;

    __device__ __forceinline__ void read(const HalfSingleParams &p, int group, int input)
    {
        if constexpr (NORM) {
            const int feature = input % p.features;
            affine.read(p.saved + 2 * group * p.features + feature, p.affine + feature,
                        p.features);
        }
    }

    template <int ACTIVATION>
    __device__ __forceinline__ Vector<W> of(const Packed<bf16, W> &packed) const
    {
        Vector<W> x = packed.values();
        if constexpr (NORM) {
#pragma unroll
            for (int i = 0; i < W; ++i) {
                x.v[i] = rounded(activate(ACTIVATION, affine.of(x.v[i], i)));
            }
        }
        return x;
    }
};

// Runs work with the activation that is to be applied to what is read.
template <bool NORM, class Work>
__device__ __forceinline__ void for_source(const HalfSingleParams &p, Work work)
{
    if constexpr (NORM) {
        for_activation(p.activation, work);
    } else {
        work(Known<IDENTITY>{});
    }
}

template <int W, bool NORM>
__device__ __forceinline__ void forward(const HalfSingleParams &p)
{
    __shared__ float shared[SAMPLES][THREADS];
    const int sample = blockIdx.y * SAMPLES;
    const int row = blockIdx.z * p.samples + sample;
    const bf16 *x = p.x + static_cast<size_t>(row) * p.inputs;
    float sums[SAMPLES] = {};
    for_source<NORM>(p, [&](auto activation) {
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            const int thread = (blockIdx.x * STEPS + step) * THREADS + threadIdx.x;
            const int input = thread * W;
            if (input >= p.inputs) {
                break;
            }
            Packed<bf16, W> packed[SAMPLES];
#pragma unroll
            for (int s = 0; s < SAMPLES; ++s) {
                if (sample + s < p.samples) {
                    packed[s] = load_packed<W>(x + static_cast<size_t>(s) * p.inputs + input);
                }
            }
            Source<W, NORM> source;
            source.read(p, blockIdx.z, input);
            const Vector<W> w = load_once<W>(p.by + input);
#pragma unroll
            for (int s = 0; s < SAMPLES; ++s) {
                if (sample + s < p.samples) {
                    const Vector<W> values =
                        source.template of<decltype(activation)::value>(packed[s]);
#pragma unroll
                    for (int i = 0; i < W; ++i) {
                        sums[s] += values.v[i] * w.v[i];
                    }
                }
            }
        }
    });
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
    if (lane == 0 && sample + own < p.samples) {
        p.to[blockIdx.x * p.groups * p.samples + row + own] = sum;
    }
}

template <int W, bool NORM>
__device__ __forceinline__ void weight_gradient(const HalfSingleParams &p)
{
    constexpr int ROWS = 4;
    const int input = (blockIdx.x * blockDim.x + threadIdx.x) * W;
    const bool inside = input < p.inputs;
    const int samples = inside ? p.samples : 0;
    const int step = blockDim.y;
    Vector<W> sums[1] = {};
    for_source<NORM>(p, [&](auto activation) {
        for (int group = 0; inside && group < p.groups; ++group) {
            Source<W, NORM> source;
            source.read(p, group, input);
            const bf16 *x = p.x + static_cast<size_t>(group * p.samples) * p.inputs + input;
            const float *dy = p.by + group * p.samples;
            for (int first = threadIdx.y; first < samples; first += ROWS * step) {
                Packed<bf16, W> packed[ROWS];
#pragma unroll
                for (int r = 0; r < ROWS; ++r) {
                    const int sample = first + r * step;
                    if (sample < samples) {
                        packed[r] = load_packed<W>(x + static_cast<size_t>(sample) * p.inputs);
                    }
                }
#pragma unroll
                for (int r = 0; r < ROWS; ++r) {
                    const int sample = first + r * step;
                    if (sample < samples) {
                        const Vector<W> values =
                            source.template of<decltype(activation)::value>(packed[r]);
                        const float by = dy[sample];
#pragma unroll
                        for (int i = 0; i < W; ++i) {
                            sums[0].v[i] += values.v[i] * by;
                        }
                    }
                }
            }
        }
    });
    sum_rows(sums);
    if (threadIdx.y > 0 || !inside) {
        return;
    }
    if (p.accumulate) {
        const Vector<W> old = load_once<W>(p.to + input);
#pragma unroll
        for (int i = 0; i < W; ++i) {
            sums[0].v[i] += old.v[i];
        }
    }
    store_once(p.to + input, sums[0]);
}

#define KERNELS(name, width, norm)                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS, HALF_BLOCKS)                            \
        half_single_forward_##name(const HalfSingleParams p)                                      \
    {                                                                                             \
        forward<width, norm>(p);                                                                  \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, HALF_BLOCKS)                            \
        half_single_weight_gradient_##name(const HalfSingleParams p)                              \
    {                                                                                             \
        weight_gradient<width, norm>(p);                                                          \
    }

KERNELS(x1, 1, false)
KERNELS(x8, 8, false)
KERNELS(normed_x1, 1, true)
KERNELS(normed_x8, 8, true)
