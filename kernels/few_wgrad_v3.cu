// targets: sm_80
// occupancy: few_wgrad_v3 2
// occupancy: few_wgrad_v3_any 2
//
// wgrad between maps in f32 and a small plane in bf16: the gradients of both networks' outermost
// weights.
//
// Ladder: few_wgrad (f32) read the small plane once a big channel, 5 threads side by side asking for
// the same values, with 2 FLOP for each byte of shared memory. Here it goes through shared memory
// once, for up to 4 big channels, and a thread makes all 25 taps of two small channels: one read
// of 16 bytes feeds 16 FLOP to 32 lanes at once. A batch norm with activation can be applied to
// what is read.
//
// Mapping: a block of 256 threads walks over `chunk` tiles of 4 x 32 small pixels by 64 channels
// (blockIdx.y) of one group of samples, for the 4 big channels from 4 blockIdx.z on. A warp makes one
// big channel, a lane 25 taps by 2 small channels; the warps of a channel take the tile's halves of
// rows in turn, and are added up in the end in their order. `sum_partials` adds the blocks' parts. The
// small pixels and the big ones that they meet (11 x 68 for each channel) take 29 KiB; at
// most 128 registers: 2 blocks a multiprocessor on all targets.
#include "few_v3.cuh"

struct FewWgradParams {
    const float *big;
    const bf16 *small;
    const float *saved;    // [groups, 2, c_small]: mean, scale; null where `small` is as stored
    const float *affine;   // [2, c_small]: gamma, beta
    float *partial;        // [parts of all groups, 5, 5, c_big, c_small]
    int samples;           // of a group
    int side;
    int c_big;
    int c_small;
    int pad_low;
    int activation;        // of `small`, behind the norm
    int chunk;             // tiles of a part
    int parts;             // of a group
};

constexpr int ROWS = 4;
constexpr int COLUMNS = 32;
constexpr int CHANNELS = 64;
constexpr int OCTETS = CHANNELS / OCTET;
constexpr int MOST_BIG = 4;
constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr int HALO_ROWS = 2 * ROWS + TAPS - 2;
constexpr int HALO_COLUMNS = 2 * COLUMNS + 4;
// Pixels of a row that a warp takes at once, and how many such there are in a tile.
constexpr int RUN = COLUMNS / 2;
constexpr int RUNS = ROWS * COLUMNS / RUN;

struct Tiles {
    uint4 small[ROWS * COLUMNS][OCTETS];
    float4 halo[MOST_BIG][HALO_ROWS][HALO_COLUMNS / 4];
    NormValues<CHANNELS> norm;
};

// Tiles while sums are made, sums in the end.
union Shared {
    Tiles tiles;
    float2 sums[MOST_BIG][TAPS * TAPS][CHANNELS / 2];
};

template <bool VECTOR>
__device__ __forceinline__ void load_small(Tiles &tiles, const FewWgradParams &p,
                                           const PixelTile &tile, int first)
{
    const int octet = threadIdx.x % OCTETS;
    const int channel = first + octet * OCTET;
#pragma unroll
    for (int i = 0; i < ROWS * COLUMNS * OCTETS / THREADS; ++i) {
        const int place = threadIdx.x / OCTETS + i * (THREADS / OCTETS);
        const int y = tile.y + place / COLUMNS;
        const int x = tile.x + place % COLUMNS;
        const int pixel = (tile.n * p.side + y) * p.side + x;
        const int count = y < p.side && x < p.side ? p.c_small - channel : 0;
        uint4 values = load_octet<VECTOR>(p.small + (pixel * p.c_small + channel), count);
        if (p.saved != nullptr) {
            values = tiles.norm.template apply<!VECTOR>(values, octet, p.activation);
        }
        tiles.small[place][octet] = values;
    }
}

// The products of N adjacent pixels: `small` is the lane's pair of channels of the first one,
// `window` the big pixel of its first tap.
template <int N>
__device__ __forceinline__ void add_pixels(float2 (&sum)[TAPS * TAPS], const unsigned *small,
                                           const float *window)
{
    static_assert(N == 1 || N == 4, "one, or as many as vectors of the window go with");
    float2 values[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const unsigned pair = small[i * (CHANNELS / 2)];
        values[i] = make_float2(widen_low(pair), widen_high(pair));
    }
#pragma unroll
    for (int r = 0; r < TAPS; ++r) {
        constexpr int MET = 2 * N + TAPS - 2;
        constexpr int READ = N == 1 ? MET : MET + 1;
        float big[READ];
        const float *row = window + r * HALO_COLUMNS;
        if constexpr (N == 1) {
#pragma unroll
            for (int i = 0; i < READ; ++i) {
                big[i] = row[i];
            }
        } else {
#pragma unroll
            for (int i = 0; i < READ; i += 4) {
                const float4 quad = *reinterpret_cast<const float4 *>(row + i);
                big[i] = quad.x;
                big[i + 1] = quad.y;
                big[i + 2] = quad.z;
                big[i + 3] = quad.w;
            }
        }
#pragma unroll
        for (int i = 0; i < N; ++i) {
#pragma unroll
            for (int s = 0; s < TAPS; ++s) {
                float2 &part = sum[r * TAPS + s];
                part.x = fmaf(big[2 * i + s], values[i].x, part.x);
                part.y = fmaf(big[2 * i + s], values[i].y, part.y);
            }
        }
    }
}

template <bool VECTOR>
__device__ __forceinline__ void few_wgrad(const FewWgradParams &p)
{
    __shared__ Shared shared;
    Tiles &tiles = shared.tiles;
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int first = blockIdx.y * CHANNELS;
    const int first_big = blockIdx.z * MOST_BIG;
    const int bigs = min(MOST_BIG, p.c_big - first_big);
    const int teams = WARPS / bigs;
    const int team = warp / bigs;
    const int own = warp % bigs;
    const int group = blockIdx.x / p.parts;
    const int count = p.samples * ((p.side + ROWS - 1) / ROWS) * ((p.side + COLUMNS - 1) / COLUMNS);
    const int start = blockIdx.x % p.parts * p.chunk;

    if (p.saved != nullptr) {
        tiles.norm.load(p.saved + 2 * group * p.c_small, p.affine, first, p.c_small);
    }
    float2 sum[TAPS * TAPS] = {};
    for (int index = start; index < min(start + p.chunk, count); ++index) {
        const PixelTile tile(group * count + index, p.side, ROWS, COLUMNS);
        __syncthreads();
        load_small<VECTOR>(tiles, p, tile, first);
        for (int big = 0; big < bigs; ++big) {
            load_halo(&tiles.halo[big][0][0].x, HALO_ROWS, HALO_COLUMNS, p.big, tile, p.side,
                      p.c_big, first_big + big, p.pad_low);
        }
        __syncthreads();
        for (int run = team < teams ? team : RUNS; run < RUNS; run += teams) {
            const int row = run * RUN / COLUMNS;
            const int column = run * RUN % COLUMNS;
            if (tile.y + row >= p.side) {
                break;
            }
            const float *window = &tiles.halo[own][2 * row][column / 2].x;
            const unsigned *small =
                reinterpret_cast<const unsigned *>(tiles.small[row * COLUMNS + column]) + lane;
            const int pixels = min(RUN, p.side - tile.x - column);
            // Pixels beyond the plane are left out: 0 times a NaN would reach taps that it does not.
            int x = 0;
#pragma unroll 1
            for (; x + 4 <= pixels; x += 4) {
                add_pixels<4>(sum, small + x * (CHANNELS / 2), window + 2 * x);
            }
#pragma unroll 1
            for (; x < pixels; ++x) {
                add_pixels<1>(sum, small + x * (CHANNELS / 2), window + 2 * x);
            }
        }
    }

    for (int turn = 0; turn < teams; ++turn) {
        __syncthreads();
        if (team != turn) {
            continue;
        }
#pragma unroll
        for (int tap = 0; tap < TAPS * TAPS; ++tap) {
            float2 &total = shared.sums[own][tap][lane];
            const float2 before = turn == 0 ? make_float2(0.0f, 0.0f) : total;
            total = make_float2(before.x + sum[tap].x, before.y + sum[tap].y);
        }
    }
    __syncthreads();
    float *partial = p.partial + static_cast<size_t>(blockIdx.x) * TAPS * TAPS * p.c_big * p.c_small;
    for (int i = threadIdx.x; i < bigs * TAPS * TAPS * CHANNELS; i += THREADS) {
        const int channel = first + i % CHANNELS;
        const int tap = i / CHANNELS % (TAPS * TAPS);
        const int big = i / CHANNELS / (TAPS * TAPS);
        if (channel < p.c_small) {
            const float value = (&shared.sums[big][tap][0].x)[i % CHANNELS];
            partial[(tap * p.c_big + first_big + big) * p.c_small + channel] = value;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) few_wgrad_v3(const FewWgradParams p)
{
    few_wgrad<true>(p);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) few_wgrad_v3_any(const FewWgradParams p)
{
    few_wgrad<false>(p);
}
