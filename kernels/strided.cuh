// The 5x5 stride-2 layer between a big plane [N, 2S, 2S, c_big] and a small plane
// [N, S, S, c_small]; weights [5, 5, c_big, c_small]. Tap k of small pixel i meets big pixel
// 2 i + k - pad_low.
//
// What the layer's kernels share. All index arithmetic is 32-bit: tensors stay below 2^31 values.
#pragma once

#include "activation.cuh"

constexpr int TAPS = 5;

// fprop: big to small. dgrad: small to big. output = activation(sum + bias).
struct StridedParams {
    const float *input;
    const float *weights;
    const float *bias;  // of the output's channels; may be null
    float *output;
    int batch;
    int side;  // S, of the small plane
    int c_big;
    int c_small;
    int pad_low;
    int activation;
};

// wgrad: part p of the sum over small pixels, those from p * chunk on, goes to partial[p].
struct WgradParams {
    const float *big;
    const float *small;
    float *partial;  // [parts, 5, 5, c_big, c_small]
    int batch;
    int side;
    int c_big;
    int c_small;
    int pad_low;
    int chunk;
};

// A pixel of a plane of the batch; pixels are numbered (n side + y) side + x.
struct Pixel {
    int n;
    int y;
    int x;
};

__device__ __forceinline__ Pixel pixel_at(int index, int side)
{
    const int row = index / side;
    return {row / side, row % side, index - row * side};
}

// Whether 0 <= i < end, in one comparison.
__device__ __forceinline__ bool inside(int i, int end)
{
    return static_cast<unsigned>(i) < static_cast<unsigned>(end);
}
