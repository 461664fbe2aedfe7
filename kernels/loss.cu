// targets: sm_75
//
// The discriminator's targets, and the loss of its logits with its gradient.
//
// Mapping: targets takes a thread a sample. loss is one block of 256 threads: thread t sums the
// samples t, t + 256, ... in f64, and a tree over threads ends it. Shared memory: 2 KiB.

#include "philox.cuh"

struct TargetsParams {
    float *real;
    float *fake;
    const StepValues *values;
    unsigned real_len;
    unsigned fake_len;
    unsigned flip_below;  // of a uniform's 2^24 values, those that flip
    unsigned per_sample;
    unsigned stream;
    float one;  // the label of real samples
};

extern "C" __global__ void __launch_bounds__(256) targets(const TargetsParams p)
{
    const unsigned sample = blockIdx.x * blockDim.x + threadIdx.x;
    if (sample >= p.real_len + p.fake_len) {
        return;
    }
    const unsigned draw = p.per_sample ? sample : 0;
    const uint4 block = philox_block(p.values, p.stream, draw / 4);
    const unsigned words[4] = {block.x, block.y, block.z, block.w};
    unsigned word = words[0];
#pragma unroll
    for (unsigned i = 1; i < 4; ++i) {
        word = draw % 4 == i ? words[i] : word;
    }
    const bool flipped = word >> 8 < p.flip_below;
    if (sample < p.real_len) {
        p.real[sample] = flipped ? 0.0f : p.one;
    } else {
        p.fake[sample - p.real_len] = flipped ? p.one : 0.0f;
    }
}

struct LossParams {
    const float *logits;
    const float *targets;
    float *gradient;  // (sigmoid(logit) - target) / len
    float *loss;
    unsigned len;
    unsigned unused;
};

constexpr unsigned THREADS = 256;

// Mean of max(l, 0) - l t + ln(1 + exp(-|l|)), which neither overflows nor loses small values.
extern "C" __global__ void __launch_bounds__(THREADS) loss(const LossParams p)
{
    __shared__ double sums[THREADS];
    const float count = static_cast<float>(p.len);
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < p.len; i += THREADS) {
        const float logit = p.logits[i], target = p.targets[i];
        const float small = expf(-fabsf(logit));
        sum += (logit > 0.0f ? logit : 0.0f) - logit * target + log1pf(small);
        const float sigmoid = (logit >= 0.0f ? 1.0f : small) / (1.0f + small);
        p.gradient[i] = (sigmoid - target) / count;
    }
    sums[threadIdx.x] = sum;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
        }
    }
    if (threadIdx.x == 0) {
        *p.loss = static_cast<float>(sums[0] / p.len);
    }
}
