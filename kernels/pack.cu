// targets: sm_80
//
// bf16 copies of the weights f32 [5, 5, c_big, c_small] in the order in which fprop and dgrad of
// version 3 read them (strided_v3.cuh): fragments of mma.m16n8k16, 16 summed channels by 32 output
// channels of one tap,
//   [step][32 output channels][2][lane][8 values].
// Lane 4 g + t has of column g of tiles 2 j and 2 j + 1 the summed channels 2 t, 2 t + 1, 2 t + 8,
// 2 t + 9. Column g of tile n is output channel 8 (g / 2) + 2 n + g % 2: so a lane's sums are those
// of 8 adjacent channels. Channels beyond the layer's are zeros.
//
// Steps, where kappa = tap % 2 and a parity has 3 taps for 0 and 2 for 1 in each dimension:
//   fprop  [kappa_y][16 channels][kappa_x][tap_x][tap_y]
//   dgrad  [kappa_y][kappa_x][16 channels][tap_x from behind][tap_y from behind]
//
// Mapping: a block makes one tap of 32 x 32 channels, for either operation or for both: rows of 32
// weights are read whole into shared memory, 512 bytes a warp are written. 4.2 KB; memory-bound.
#include "half.cuh"

struct PackParams {
    const float *weights;
    uint4 *fprop;  // may be null
    uint4 *dgrad;  // may be null
    int c_big;
    int c_small;
};

constexpr int TAPS = 5;
constexpr int EXTENT = 32;
constexpr int THREADS = 128;

// The place of a tap among the steps.
__device__ __forceinline__ int step_of(int tap, int chunk, int chunks, bool dgrad)
{
    const int vertical = tap / TAPS % 2;
    const int horizontal = tap % TAPS % 2;
    const int down = 3 - vertical;
    const int across = 3 - horizontal;
    int y = tap / TAPS / 2;
    int x = tap % TAPS / 2;
    if (dgrad) {
        y = down - 1 - y;
        x = across - 1 - x;
    }
    const int before = vertical * 15 * chunks;
    if (dgrad) {
        return before + (horizontal * 3 * chunks + chunk * across + x) * down + y;
    }
    return before + (chunk * TAPS + horizontal * 3 + x) * down + y;
}

// The block's weights in the order of one operation.
template <bool DGRAD>
__device__ __forceinline__ void write(const PackParams &p, const float (&weights)[EXTENT][EXTENT + 1],
                                      int tap, int first_big, int first_small)
{
    const int lane = threadIdx.x % EXTENT;
    const int first_summed = DGRAD ? first_small : first_big;
    const int first_output = DGRAD ? first_big : first_small;
    const int summed = DGRAD ? p.c_small : p.c_big;
    const int outputs = DGRAD ? p.c_big : p.c_small;
    const int chunks = (summed + 15) / 16;
    // A thread writes a lane's 16 bytes of half a group.
    const int half = threadIdx.x / 32 % 2;
    const int chunk = first_summed / 16 + threadIdx.x / 64;
    if (chunk >= chunks) {
        return;
    }
    unsigned words[4];
#pragma unroll
    for (int word = 0; word < 4; ++word) {
        const int output = lane / 8 * 8 + 2 * (2 * half + word / 2) + lane / 4 % 2;
        const int k = threadIdx.x / 64 * 16 + 2 * (lane % 4) + 8 * (word % 2);
        words[word] = DGRAD ? narrow2(weights[output][k], weights[output][k + 1])
                            : narrow2(weights[k][output], weights[k + 1][output]);
    }
    const int groups = (outputs + EXTENT - 1) / EXTENT;
    const int step = step_of(tap, chunk, chunks, DGRAD);
    const int group = step * groups + first_output / EXTENT;
    uint4 *packed = DGRAD ? p.dgrad : p.fprop;
    packed[(2 * group + half) * 32 + lane] = make_uint4(words[0], words[1], words[2], words[3]);
}

extern "C" __global__ void __launch_bounds__(THREADS) half_pack(const PackParams p)
{
    __shared__ float weights[EXTENT][EXTENT + 1];
    const int small_tiles = (p.c_small + EXTENT - 1) / EXTENT;
    const int big_tiles = (p.c_big + EXTENT - 1) / EXTENT;
    const int first_small = blockIdx.x % small_tiles * EXTENT;
    const int first_big = blockIdx.x / small_tiles % big_tiles * EXTENT;
    const int tap = blockIdx.x / small_tiles / big_tiles;

    const int lane = threadIdx.x % EXTENT;
#pragma unroll
    for (int row = threadIdx.x / EXTENT; row < EXTENT; row += THREADS / EXTENT) {
        const int big = first_big + row;
        const int small = first_small + lane;
        const bool exists = big < p.c_big && small < p.c_small;
        weights[row][lane] = exists ? p.weights[(tap * p.c_big + big) * p.c_small + small] : 0.0f;
    }
    __syncthreads();
    if (p.fprop != nullptr) {
        write<false>(p, weights, tap, first_big, first_small);
    }
    if (p.dgrad != nullptr) {
        write<true>(p, weights, tap, first_big, first_small);
    }
}
