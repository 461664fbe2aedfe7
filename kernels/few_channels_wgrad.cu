// targets: sm_75
//
// wgrad where the big plane has 1 to 4 channels: bound by the memory that the small plane takes.
//
// Mapping: a thread makes 5 taps of one filter row by 4 small channels, for big channel blockIdx.z;
// 16 threads cover 64 small channels, 5 times that a filter. Three such groups share a tile of
// 6 x 32 small pixels, row by row in turn, and each leaves a partial sum of its own; a block walks
// over `chunk` tiles. `sum_partials` adds the parts. The big pixels that a tile meets (15 x 67) go
// through shared memory, 4 KiB; the small plane is read by 5 threads at once, out of the L1 cache.
#include "few_channels.cuh"

constexpr int ROWS = 6;
constexpr int COLUMNS = 32;
constexpr int CHANNELS = 64;
constexpr int GROUPS = 3;
constexpr int THREADS = CHANNELS / 4 * TAPS * GROUPS;
constexpr int HALO_ROWS = 2 * ROWS + TAPS - 2;
constexpr int HALO_COLUMNS = 2 * COLUMNS + TAPS - 2;

extern "C" __global__ void __launch_bounds__(THREADS) few_wgrad(const WgradParams p)
{
    __shared__ float halo[HALO_ROWS][HALO_COLUMNS];
    const int channel = blockIdx.y * CHANNELS + threadIdx.x % (CHANNELS / 4) * 4;
    const int r = threadIdx.x / (CHANNELS / 4) % TAPS;
    const int group = threadIdx.x / (CHANNELS / 4) / TAPS;
    const int big = blockIdx.z;
    const bool vectors = p.c_small % 4 == 0 && aligned(p.small) && aligned(p.partial);
    const int tiles = p.batch * ((p.side + ROWS - 1) / ROWS) * ((p.side + COLUMNS - 1) / COLUMNS);
    const int start = blockIdx.x * p.chunk;

    float sum[TAPS][4] = {};
    for (int index = start; index < min(start + p.chunk, tiles); ++index) {
        const PixelTile tile(index, p.side, ROWS, COLUMNS);
        __syncthreads();
        load_halo(&halo[0][0], HALO_ROWS, HALO_COLUMNS, p.big, tile, p.side, p.c_big, big,
                  p.pad_low);
        __syncthreads();
        const int columns = min(COLUMNS, p.side - tile.x);
        for (int row = group; row < min(ROWS, p.side - tile.y); row += GROUPS) {
            const float *window = &halo[2 * row + r][0];
            const int pixel = (tile.n * p.side + tile.y + row) * p.side + tile.x;
            const float *small = p.small + (pixel * p.c_small + channel);
#pragma unroll 4
            for (int x = 0; x < columns; ++x) {
                const float4 values =
                    load_quad(small + x * p.c_small, p.c_small - channel, vectors);
#pragma unroll
                for (int s = 0; s < TAPS; ++s) {
                    add_product(sum[s], window[2 * x + s], values);
                }
            }
        }
    }

    const size_t part = blockIdx.x * GROUPS + group;
    float *partial = p.partial + part * TAPS * TAPS * p.c_big * p.c_small;
#pragma unroll
    for (int s = 0; s < TAPS; ++s) {
        float *to = partial + (((r * TAPS + s) * p.c_big + big) * p.c_small + channel);
        store_quad(to, p.c_small - channel, vectors, sum[s]);
    }
}
