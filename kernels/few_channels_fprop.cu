// targets: sm_75
//
// fprop where the big plane has 1 to 4 channels: bound by the memory that the small plane takes.
//
// Mapping: a block makes 8 x 16 pixels of one sample's small plane by 64 channels; a thread makes 4
// adjacent pixels by 4 channels, twice. For one big channel after the other, the big pixels that
// the tile meets (19 x 35) and the filter's 25 x 64 weights go through shared memory: 9 KiB.
#include "few_channels.cuh"

constexpr int ROWS = 8;
constexpr int COLUMNS = 16;
constexpr int CHANNELS = 64;
constexpr int ADJACENT = 4;
constexpr int THREADS = 256;
constexpr int HALO_ROWS = 2 * ROWS + TAPS - 2;
constexpr int HALO_COLUMNS = 2 * COLUMNS + TAPS - 2;
// Groups of adjacent pixels that a thread makes.
constexpr int GROUPS = ROWS * COLUMNS / ADJACENT * (CHANNELS / 4) / THREADS;

extern "C" __global__ void __launch_bounds__(THREADS) few_fprop(const StridedParams p)
{
    __shared__ float halo[HALO_ROWS][HALO_COLUMNS];
    __shared__ float4 weights[TAPS * TAPS][CHANNELS / 4];
    const PixelTile tile(blockIdx.x, p.side, ROWS, COLUMNS);
    const int quad = threadIdx.x % (CHANNELS / 4);
    const int first_channel = blockIdx.y * CHANNELS;
    const int channel = first_channel + 4 * quad;
    const bool vectors = p.c_small % 4 == 0 && aligned(p.weights) && aligned(p.output);

    float sum[GROUPS][ADJACENT][4] = {};
    for (int c = 0; c < p.c_big; ++c) {
        __syncthreads();
        load_halo(&halo[0][0], HALO_ROWS, HALO_COLUMNS, p.input, tile, p.side, p.c_big, c,
                  p.pad_low);
        for (int i = threadIdx.x; i < TAPS * TAPS * CHANNELS / 4; i += THREADS) {
            const int tap = i / (CHANNELS / 4);
            const int at = first_channel + i % (CHANNELS / 4) * 4;
            const float *from = p.weights + ((tap * p.c_big + c) * p.c_small + at);
            weights[tap][i % (CHANNELS / 4)] = load_quad(from, p.c_small - at, vectors);
        }
        __syncthreads();
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const int group = threadIdx.x / (CHANNELS / 4) + g * (THREADS / (CHANNELS / 4));
            const int row = group / (COLUMNS / ADJACENT);
            const int column = group % (COLUMNS / ADJACENT) * ADJACENT;
            for (int r = 0; r < TAPS; ++r) {
                float window[2 * ADJACENT + TAPS - 2];
#pragma unroll
                for (int i = 0; i < 2 * ADJACENT + TAPS - 2; ++i) {
                    window[i] = halo[2 * row + r][2 * column + i];
                }
#pragma unroll
                for (int s = 0; s < TAPS; ++s) {
                    const float4 weight = weights[r * TAPS + s][quad];
#pragma unroll
                    for (int i = 0; i < ADJACENT; ++i) {
                        add_product(sum[g][i], window[2 * i + s], weight);
                    }
                }
            }
        }
    }

    float bias[4];
#pragma unroll
    for (int b = 0; b < 4; ++b) {
        const bool biased = p.bias != nullptr && channel + b < p.c_small;
        bias[b] = biased ? p.bias[channel + b] : 0.0f;
    }
#pragma unroll
    for (int g = 0; g < GROUPS; ++g) {
        const int group = threadIdx.x / (CHANNELS / 4) + g * (THREADS / (CHANNELS / 4));
        const int y = tile.y + group / (COLUMNS / ADJACENT);
        const int x = tile.x + group % (COLUMNS / ADJACENT) * ADJACENT;
#pragma unroll
        for (int i = 0; i < ADJACENT; ++i) {
            if (y >= p.side || x + i >= p.side) {
                continue;
            }
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                sum[g][i][b] = activate(p.activation, sum[g][i][b] + bias[b]);
            }
            const int pixel = (tile.n * p.side + y) * p.side + x + i;
            float *to = p.output + (pixel * p.c_small + channel);
            store_quad(to, p.c_small - channel, vectors, sum[g][i]);
        }
    }
}
