// targets: sm_75
//
// dgrad where the big plane has 1 to 4 channels: bound by the memory that the small plane takes.
//
// In padded coordinates, big pixel y + pad_low = 2 i + parity meets small pixel i - e through tap
// parity + 2 e: 25 taps for the four big pixels of one (i, j), whatever the padding; i and j go
// from 0 to S.
//
// Mapping: a thread makes the big pixels of one (i, j), all channels; a block makes 8 x 16 of them.
// For 16 small channels after the other, the 10 x 18 small pixels that the tile meets and the
// weights go through shared memory: 20.5 KiB. A pixel there takes 20 values, so that the 16-byte
// reads of 8 neighbours touch all banks once.
#include "few_channels.cuh"

constexpr int ROWS = 8;
constexpr int COLUMNS = 16;
constexpr int THREADS = ROWS * COLUMNS;
constexpr int MOST_BIG = 4;
constexpr int QUADS = 4;
constexpr int HALO_ROWS = ROWS + 2;
constexpr int HALO_COLUMNS = COLUMNS + 2;

__device__ __forceinline__ float add_dot(float sum, float4 a, float4 b)
{
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

extern "C" __global__ void __launch_bounds__(THREADS) few_dgrad(const StridedParams p)
{
    __shared__ float4 halo[HALO_ROWS][HALO_COLUMNS][QUADS + 1];
    __shared__ float4 weights[TAPS * TAPS][MOST_BIG][QUADS];
    const PixelTile tile(blockIdx.x, p.side + 1, ROWS, COLUMNS);
    const int row = threadIdx.x / COLUMNS;
    const int column = threadIdx.x % COLUMNS;
    const bool vectors = p.c_small % 4 == 0 && aligned(p.input) && aligned(p.weights);

    float sum[MOST_BIG][2][2] = {};
    for (int first = 0; first < p.c_small; first += 4 * QUADS) {
        __syncthreads();
        for (int i = threadIdx.x; i < HALO_ROWS * HALO_COLUMNS * QUADS; i += THREADS) {
            const int down = i / QUADS / HALO_COLUMNS;
            const int across = i / QUADS % HALO_COLUMNS;
            const int y = tile.y + down - 2;
            const int x = tile.x + across - 2;
            const int channel = first + i % QUADS * 4;
            const int pixel = (tile.n * p.side + y) * p.side + x;
            const bool exists = inside(y, p.side) && inside(x, p.side);
            const float *from = p.input + (pixel * p.c_small + channel);
            halo[down][across][i % QUADS] =
                load_quad(from, exists ? p.c_small - channel : 0, vectors);
        }
        for (int i = threadIdx.x; i < TAPS * TAPS * p.c_big * QUADS; i += THREADS) {
            const int big = i / QUADS % p.c_big;
            const int tap = i / QUADS / p.c_big;
            const int channel = first + i % QUADS * 4;
            const float *from = p.weights + ((tap * p.c_big + big) * p.c_small + channel);
            weights[tap][big][i % QUADS] = load_quad(from, p.c_small - channel, vectors);
        }
        __syncthreads();
        for (int quad = 0; quad < QUADS; ++quad) {
#pragma unroll
            for (int e = 0; e < 9; ++e) {
                const int ey = e / 3;
                const int ex = e % 3;
                const float4 small = halo[row + 2 - ey][column + 2 - ex][quad];
#pragma unroll
                for (int big = 0; big < MOST_BIG; ++big) {
                    if (big >= p.c_big) {
                        break;
                    }
#pragma unroll
                    for (int parities = 0; parities < 4; ++parities) {
                        const int r = parities / 2 + 2 * ey;
                        const int s = parities % 2 + 2 * ex;
                        if (r < TAPS && s < TAPS) {
                            float &part = sum[big][parities / 2][parities % 2];
                            part = add_dot(part, small, weights[r * TAPS + s][big][quad]);
                        }
                    }
                }
            }
        }
    }

#pragma unroll
    for (int parities = 0; parities < 4; ++parities) {
        const int y = 2 * (tile.y + row) + parities / 2 - p.pad_low;
        const int x = 2 * (tile.x + column) + parities % 2 - p.pad_low;
        if (!inside(y, 2 * p.side) || !inside(x, 2 * p.side)) {
            continue;
        }
        float *to = p.output + ((tile.n * 2 * p.side + y) * 2 * p.side + x) * p.c_big;
#pragma unroll
        for (int big = 0; big < MOST_BIG; ++big) {
            if (big < p.c_big) {
                const float bias = p.bias != nullptr ? p.bias[big] : 0.0f;
                to[big] = activate(p.activation, sum[big][parities / 2][parities % 2] + bias);
            }
        }
    }
}
