// targets: sm_75
//
// dgrad, version 1: the definition, for comparison.
//
// Mapping: one thread makes one value of the big plane; 256 threads a block, channels fastest. The
// taps that meet a big pixel are those of its parity. Each tap is summed by itself, and then the
// taps. No shared memory.
#include "strided.cuh"

extern "C" __global__ void __launch_bounds__(256) dgrad_v1(const StridedParams p)
{
    const int big_side = 2 * p.side;
    const unsigned index = blockIdx.x * 256 + threadIdx.x;
    if (index >= static_cast<unsigned>(p.batch * big_side * big_side * p.c_big)) {
        return;
    }
    const int channel = index % p.c_big;
    const Pixel big = pixel_at(index / p.c_big, big_side);
    const int first_r = (big.y + p.pad_low) % 2;
    const int first_s = (big.x + p.pad_low) % 2;

    float sum = 0.0f;
    for (int r = first_r; r < TAPS; r += 2) {
        const int y = (big.y + p.pad_low - r) / 2;
        if (big.y + p.pad_low < r || y >= p.side) {
            continue;
        }
        for (int s = first_s; s < TAPS; s += 2) {
            const int x = (big.x + p.pad_low - s) / 2;
            if (big.x + p.pad_low < s || x >= p.side) {
                continue;
            }
            const float *small = p.input + ((big.n * p.side + y) * p.side + x) * p.c_small;
            const float *weight = p.weights + ((r * TAPS + s) * p.c_big + channel) * p.c_small;
            float tap = 0.0f;
            for (int c = 0; c < p.c_small; ++c) {
                tap = fmaf(small[c], weight[c], tap);
            }
            sum += tap;
        }
    }
    if (p.bias != nullptr) {
        sum += p.bias[channel];
    }
    p.output[index] = activate(p.activation, sum);
}
