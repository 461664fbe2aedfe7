// The element-wise end of a block. Codes are those of `activation_code` in
// src/backend/gpu/ops/mod.rs.
#pragma once

enum Activation { IDENTITY = 0, RELU = 1, LEAKY_RELU = 2, TANH = 3 };

// Comparisons let NaN pass: with max, a network that diverged would look sound.
__device__ __forceinline__ float activate(int activation, float x)
{
    switch (activation) {
    case RELU:
        return x < 0.0f ? 0.0f : x;
    case LEAKY_RELU:
        return x < 0.0f ? 0.2f * x : x;
    case TANH:
        return tanhf(x);
    default:
        return x;
    }
}

// The derivative, from the output y.
__device__ __forceinline__ float slope(int activation, float y)
{
    switch (activation) {
    case RELU:
        return y > 0.0f ? 1.0f : 0.0f;
    case LEAKY_RELU:
        return y > 0.0f ? 1.0f : 0.2f;
    case TANH:
        return 1.0f - y * y;
    default:
        return 1.0f;
    }
}

// An activation that the compiler knows.
template <int ACTIVATION>
struct Known {
    static constexpr int value = ACTIVATION;
};

// Runs work(Known<activation>): loops over rows are compiled for each, so that loads of many rows are
// in flight and not a branch for each value.
template <class Work>
__device__ __forceinline__ void for_activation(int activation, Work work)
{
    switch (activation) {
    case RELU:
        work(Known<RELU>{});
        break;
    case LEAKY_RELU:
        work(Known<LEAKY_RELU>{});
        break;
    case TANH:
        work(Known<TANH>{});
        break;
    default:
        work(Known<IDENTITY>{});
    }
}
