// targets: sm_75
//
// wgrad, version 1: the definition, for comparison.
//
// Mapping: one thread makes one weight's partial sum over the pixels of part blockIdx.y; 256
// threads a block, small channels fastest. `sum_partials` adds the parts. Runs of pixels are
// summed by themselves, and then the runs. No shared memory.
#include "strided.cuh"

constexpr int RUN = 64;

extern "C" __global__ void __launch_bounds__(256) wgrad_v1(const WgradParams p)
{
    const int weights = TAPS * TAPS * p.c_big * p.c_small;
    const int index = blockIdx.x * 256 + threadIdx.x;
    if (index >= weights) {
        return;
    }
    const int c_small = index % p.c_small;
    const int c_big = index / p.c_small % p.c_big;
    const int tap = index / p.c_small / p.c_big;
    const int r = tap / TAPS;
    const int s = tap % TAPS;
    const int big_side = 2 * p.side;

    const int start = blockIdx.y * p.chunk;
    const int end = min(start + p.chunk, p.batch * p.side * p.side);
    float sum = 0.0f;
    for (int run = start; run < end; run += RUN) {
        float part = 0.0f;
        for (int m = run; m < min(run + RUN, end); ++m) {
            const Pixel small = pixel_at(m, p.side);
            const int y = 2 * small.y + r - p.pad_low;
            const int x = 2 * small.x + s - p.pad_low;
            if (inside(y, big_side) && inside(x, big_side)) {
                const int pixel = (small.n * big_side + y) * big_side + x;
                part = fmaf(p.big[pixel * p.c_big + c_big], p.small[m * p.c_small + c_small], part);
            }
        }
        sum += part;
    }
    p.partial[static_cast<size_t>(blockIdx.y) * weights + index] = sum;
}
