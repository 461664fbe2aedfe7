// targets: sm_75
//
// fprop, version 1: the definition, for comparison.
//
// Mapping: one thread makes one value of the small plane; 256 threads a block, channels fastest.
// Each tap is summed by itself, and then the taps. No shared memory.
#include "strided.cuh"

extern "C" __global__ void __launch_bounds__(256) fprop_v1(const StridedParams p)
{
    const unsigned index = blockIdx.x * 256 + threadIdx.x;
    if (index >= static_cast<unsigned>(p.batch * p.side * p.side * p.c_small)) {
        return;
    }
    const int channel = index % p.c_small;
    const Pixel small = pixel_at(index / p.c_small, p.side);
    const int big_side = 2 * p.side;

    float sum = 0.0f;
    for (int r = 0; r < TAPS; ++r) {
        const int y = 2 * small.y + r - p.pad_low;
        if (!inside(y, big_side)) {
            continue;
        }
        for (int s = 0; s < TAPS; ++s) {
            const int x = 2 * small.x + s - p.pad_low;
            if (!inside(x, big_side)) {
                continue;
            }
            const float *big = p.input + ((small.n * big_side + y) * big_side + x) * p.c_big;
            const float *weight = p.weights + (r * TAPS + s) * p.c_big * p.c_small + channel;
            float tap = 0.0f;
            for (int c = 0; c < p.c_big; ++c) {
                tap = fmaf(big[c], weight[c * p.c_small], tap);
            }
            sum += tap;
        }
    }
    if (p.bias != nullptr) {
        sum += p.bias[channel];
    }
    p.output[index] = activate(p.activation, sum);
}
