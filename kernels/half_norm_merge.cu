// targets: sm_80
//
// Merges what kernels leave of parts of the rows, in f64 and in an order that shapes alone fix: moments
// to batch norm's statistics and running averages; sums to totals and gradients.
//
// Both are sums over parts. Moments become such by a shift: with K the mean of the group's first part,
// mean = K + sum n (m - K) / N and square = sum (s + n (m - K)^2) - (sum n (m - K))^2 / N, where n rows
// of a part have mean m and centred sum of squares s. The shift leaves little to cancel.
//
// Mapping: a block is blockDim.x features wide (8, a sector; 256 where parts are few), and row y of it
// takes the parts y, y + blockDim.y, ...; the rows are added as a tree. Many parts are first cut into
// slices (blockIdx.y; blockIdx.z is the group), whose sums a second launch adds. Shared memory: 12 KiB.

constexpr int MERGE_THREADS = 512;
constexpr int TERMS = 3;  // two sums and the number of rows

struct Parts {
    const float *parts;   // [groups, parts, 2, features]
    const float *counts;  // [groups, parts]: rows; null where `parts` are sums
    double *slices;       // [groups, slices, TERMS, features]; null where there are none
    int features;
    int len;         // parts of a group
    int slice;       // parts of a slice
    int slices_len;  // slices of a group
};

struct Terms {
    double v[TERMS];
};

// Adds the rows of a block; the first one has the result.
__device__ __forceinline__ Terms add_rows(Terms terms)
{
    __shared__ double shared[TERMS][MERGE_THREADS];
    const unsigned own = threadIdx.y * blockDim.x + threadIdx.x;
    if (blockDim.y == 1) {
        return terms;
    }
    __syncthreads();
#pragma unroll
    for (int t = 0; t < TERMS; ++t) {
        shared[t][own] = terms.v[t];
    }
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
#pragma unroll
            for (int t = 0; t < TERMS; ++t) {
                terms.v[t] += shared[t][own + half * blockDim.x];
                shared[t][own] = terms.v[t];
            }
        }
    }
    return terms;
}

// The feature of a thread in one group.
struct Column {
    const Parts &p;
    int group;
    int feature;
    bool inside;  // otherwise it has nothing to add

    // What means are taken from.
    __device__ __forceinline__ double shift() const
    {
        if (p.counts == nullptr || !inside || !(p.counts[group * p.len] > 0.0f)) {
            return 0.0;
        }
        return p.parts[2 * group * p.len * p.features + feature];
    }

    // The parts from `first` to `end`.
    __device__ __forceinline__ Terms of_parts(int first, int end) const
    {
        const float *parts = p.parts + 2 * group * p.len * p.features + feature;
        const double shift = this->shift();
        Terms terms = {};
#pragma unroll 8
        for (int part = first + threadIdx.y; inside && part < end; part += blockDim.y) {
            const double a = parts[2 * part * p.features], b = parts[(2 * part + 1) * p.features];
            if (p.counts == nullptr) {
                terms.v[0] += a;
                terms.v[1] += b;
                continue;
            }
            const double count = p.counts[group * p.len + part];
            // A part without rows has no mean.
            if (count != 0.0) {
                terms.v[0] += count * (a - shift);
                terms.v[1] += b + count * (a - shift) * (a - shift);
                terms.v[2] += count;
            }
        }
        return add_rows(terms);
    }

    __device__ __forceinline__ double *slices() const
    {
        return p.slices + TERMS * group * p.slices_len * p.features + feature;
    }

    __device__ __forceinline__ Terms of_slices() const
    {
        const double *from = slices();
        Terms terms = {};
#pragma unroll 4
        for (int slice = threadIdx.y; inside && slice < p.slices_len; slice += blockDim.y) {
#pragma unroll
            for (int t = 0; t < TERMS; ++t) {
                terms.v[t] += from[(TERMS * slice + t) * p.features];
            }
        }
        return add_rows(terms);
    }

    // Of the whole group.
    __device__ __forceinline__ Terms sum() const
    {
        return p.slices == nullptr ? of_parts(0, p.len) : of_slices();
    }
};

__device__ __forceinline__ Column column(const Parts &p, int group)
{
    const int feature = blockIdx.x * blockDim.x + threadIdx.x;
    return {p, group, feature, feature < p.features};
}

struct HalfSlicesParams {
    Parts from;
};

extern "C" __global__ void __launch_bounds__(MERGE_THREADS, 2) half_slices(const HalfSlicesParams p)
{
    const Column c = column(p.from, blockIdx.z);
    const int first = blockIdx.y * p.from.slice;
    const Terms terms = c.of_parts(first, min(first + p.from.slice, p.from.len));
    if (c.inside && threadIdx.y == 0) {
        double *to = c.slices() + TERMS * blockIdx.y * p.from.features;
#pragma unroll
        for (int t = 0; t < TERMS; ++t) {
            to[t * p.from.features] = terms.v[t];
        }
    }
}

struct HalfMomentsMergeParams {
    Parts from;
    float *saved;    // [groups, 2, features]: mean, 1/sqrt(variance + epsilon)
    float *running;  // [2, features]: mean, unbiased variance
    double momentum;
    double epsilon;
    int groups;
    int unused;
};

__device__ __forceinline__ float running_average(float old, double momentum, double now)
{
    return static_cast<float>((1.0 - momentum) * old + momentum * now);
}

extern "C" __global__ void __launch_bounds__(MERGE_THREADS, 2)
    half_moments_merge(const HalfMomentsMergeParams p)
{
    const int features = p.from.features;
    for (int group = 0; group < p.groups; ++group) {
        const Column c = column(p.from, group);
        const Terms terms = c.sum();
        if (!c.inside || threadIdx.y > 0) {
            continue;
        }
        const double rows = terms.v[2], share = 1.0 / rows;
        const double shifted = share * terms.v[0];
        const double mean = c.shift() + shifted;
        double square = terms.v[1] - shifted * terms.v[0];
        square = square < 0.0 ? 0.0 : square;
        float *saved = p.saved + 2 * group * features + c.feature;
        saved[0] = static_cast<float>(mean);
        saved[features] = static_cast<float>(1.0 / sqrt(share * square + p.epsilon));
        float *running = p.running + c.feature;
        const double unbiased = square / (rows > 2.0 ? rows - 1.0 : 1.0);
        running[0] = running_average(running[0], p.momentum, mean);
        running[features] = running_average(running[features], p.momentum, unbiased);
    }
}

struct HalfSumsMergeParams {
    Parts from;
    float *totals;  // [groups, 2, features]; may be null
    float *affine;  // [2, features]: the gradients of gamma and beta; may be null
    float *bias;    // [features]: that of a bias; may be null
    int groups;
    int add_affine;  // adds to the gradients instead of setting them
    int add_bias;
    int unused;
};

// Sets a gradient or adds to it.
__device__ __forceinline__ void give(float *to, double gradient, int add)
{
    *to = static_cast<float>(gradient + (add ? *to : 0.0f));
}

extern "C" __global__ void __launch_bounds__(MERGE_THREADS, 2)
    half_sums_merge(const HalfSumsMergeParams p)
{
    const int features = p.from.features;
    const int feature = column(p.from, 0).feature;
    double plain = 0.0, weighted = 0.0;
    for (int group = 0; group < p.groups; ++group) {
        const Column c = column(p.from, group);
        const Terms terms = c.sum();
        plain += terms.v[0];
        weighted += terms.v[1];
        if (p.totals != nullptr && c.inside && threadIdx.y == 0) {
            float *totals = p.totals + 2 * group * features + feature;
            totals[0] = static_cast<float>(terms.v[0]);
            totals[features] = static_cast<float>(terms.v[1]);
        }
    }
    if (feature >= features || threadIdx.y > 0) {
        return;
    }
    if (p.affine != nullptr) {
        give(p.affine + feature, weighted, p.add_affine);
        give(p.affine + features + feature, plain, p.add_affine);
    }
    if (p.bias != nullptr) {
        give(p.bias + feature, plain, p.add_bias);
    }
}
