// targets: sm_75
//
// Batch norm's statistics: mean and 1/sqrt(variance + epsilon) of each feature, and the running
// averages. Never E[x^2] - E[x]^2: a thread takes mean and centred sum of squares of DEPTH rows in
// registers and merges them (Chan, Golub and LeVeque 1979); so do the threads of a block. A second
// kernel merges the chunks, in f64.
//
// Mapping: see columns.cuh. Each value is read once, DEPTH loads in flight a thread. Shared memory:
// 12 KiB (x4), 3 KiB (x1); 4 KiB in the merge. Registers: 69 (x4) at most.

#include "moments.cuh"

struct NormStatisticsParams {
    const float *u;  // [groups, rows, features]
    float *partial;  // [groups, chunks, 2, features]: mean, centred sum of squares
    int rows;
    int features;
    int chunk;  // rows of one
    int unused;
};

template <int W>
__device__ __forceinline__ void statistics(const NormStatisticsParams &p)
{
    const Columns c = columns(p.rows, p.features, p.chunk, W);
    const Moments<W> moments = block_moments<W>(p.u, c, p.features);
    if (threadIdx.y == 0 && c.inside) {
        float *partial = p.partial + 2 * (blockIdx.z * gridDim.x + blockIdx.x) * p.features;
        store(partial + c.feature, moments.mean);
        store(partial + p.features + c.feature, moments.square);
    }
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_statistics_x1(const NormStatisticsParams p)
{
    statistics<1>(p);
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_statistics_x4(const NormStatisticsParams p)
{
    statistics<4>(p);
}

struct NormStatisticsMergeParams {
    const float *partial;
    float *saved;    // [groups, 2, features]: mean, 1/sqrt(variance + epsilon)
    float *running;  // [2, features]: mean, unbiased variance
    double momentum;
    double epsilon;
    int rows;
    int features;
    int chunk;
    int chunks;
    int groups;
    int unused;
};

__device__ __forceinline__ float running_average(float old, double momentum, double now)
{
    return static_cast<float>((1.0 - momentum) * old + momentum * now);
}

extern "C" __global__ void __launch_bounds__(MERGE_THREADS)
    norm_statistics_merge(const NormStatisticsMergeParams p)
{
    const int feature = blockIdx.x * blockDim.x + threadIdx.x;
    const bool inside = feature < p.features;
    const bool writes = inside && threadIdx.y == 0;
    const int last = inside ? p.chunks : 0;
    const double rows = p.rows;
    float mean_average = writes ? p.running[feature] : 0.0f;
    float variance_average = writes ? p.running[p.features + feature] : 0.0f;

    for (int group = 0; group < p.groups; ++group) {
        const float *partial = p.partial + 2 * group * p.chunks * p.features + feature;
        double sum = 0.0;
#pragma unroll 8
        for (int chunk = threadIdx.y; chunk < last; chunk += blockDim.y) {
            const double count = min(p.chunk, p.rows - chunk * p.chunk);
            sum += count * partial[2 * chunk * p.features];
        }
        const double mean = merge_rows(sum) / rows;
        double square = 0.0;
#pragma unroll 8
        for (int chunk = threadIdx.y; chunk < last; chunk += blockDim.y) {
            const double count = min(p.chunk, p.rows - chunk * p.chunk);
            const double delta = partial[2 * chunk * p.features] - mean;
            square += partial[(2 * chunk + 1) * p.features] + count * delta * delta;
        }
        square = merge_rows(square);
        if (writes) {
            float *saved = p.saved + 2 * group * p.features + feature;
            saved[0] = static_cast<float>(mean);
            saved[p.features] = static_cast<float>(1.0 / sqrt(square / rows + p.epsilon));
            mean_average = running_average(mean_average, p.momentum, mean);
            const double unbiased = square / (rows > 2.0 ? rows - 1.0 : 1.0);
            variance_average = running_average(variance_average, p.momentum, unbiased);
        }
    }
    if (writes) {
        p.running[feature] = mean_average;
        p.running[p.features + feature] = variance_average;
    }
}

struct NormRunningParams {
    const float *running;
    float *saved;
    double epsilon;
    int features;
    int unused;
};

// What statistics would be if they were the running averages.
extern "C" __global__ void __launch_bounds__(256) norm_running(const NormRunningParams p)
{
    const int feature = blockIdx.x * blockDim.x + threadIdx.x;
    if (feature < p.features) {
        p.saved[feature] = p.running[feature];
        const double variance = p.running[p.features + feature];
        p.saved[p.features + feature] = static_cast<float>(1.0 / sqrt(variance + p.epsilon));
    }
}
