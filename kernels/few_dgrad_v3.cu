// targets: sm_80
// occupancy: few_dgrad_v3_one_pad1 4
// occupancy: few_dgrad_v3_one_pad2 4
// occupancy: few_dgrad_v3_four_pad1 4
// occupancy: few_dgrad_v3_four_pad2 4
// occupancy: few_dgrad_v3_any_pad1 4
// occupancy: few_dgrad_v3_any_pad2 4
//
// dgrad from a small plane in bf16 to maps in f32: the generator's last layer, and the gradient that
// reaches the discriminator's maps.
//
// The four big pixels (2 i + 0 or 1, 2 j + 0 or 1) meet the 3 x 3 small pixels around (i, j) through
// 25 taps. Which of them go where depends on the padding, which is compiled in.
//
// Ladder: few_dgrad (f32) had (S + 1)^2 positions, one a thread, 8 FLOP for a 16-byte read of
// weights, and stored every other value of a row. Here there are S^2, 4 a thread for 32 FLOP, whole
// rows are stored, and a batch norm with activation can be applied to what is read.
//
// Mapping: a block of 128 threads makes 16 x 32 positions of one sample, a thread 4 of a column. For
// 16 small channels after the other, the 18 x 34 small pixels that they meet (1.2 times those of the
// tile) and the weights go through shared memory, 8 channels of one pixel behind another, so that
// neighbours read and write them without conflicts. BIG channels of the maps are made at once: 1
// takes 96 registers and 5 blocks fit (4 on sm_86 and sm_89), 4 take 128 and 4 blocks fit.
#include "few_v3.cuh"

struct FewDgradParams {
    const bf16 *input;
    const float *saved;    // [groups, 2, c_small]: mean, scale; null where the input is as stored
    const float *affine;   // [2, c_small]: gamma, beta
    const float *weights;
    const float *bias;     // of the maps' channels; may be null
    float *output;
    const float *value;    // backward: the output of the block that made the maps; else null
    int samples;           // of a group
    int side;
    int c_big;
    int c_small;
    int activation;        // of the output, or of the block that made the maps
    int input_activation;  // of the input, behind the norm
};

constexpr int COLUMNS = 32;
constexpr int THREADS = 128;
constexpr int WARPS = THREADS / COLUMNS;
constexpr int HALO_COLUMNS = COLUMNS + 2;
constexpr int OCTETS = 2;
constexpr int CHANNELS = OCTETS * OCTET;

// Positions of a thread.
template <int BIG>
constexpr int DOWN = BIG == 1 ? 4 : 2;

template <int BIG>
constexpr int ROWS = WARPS * DOWN<BIG>;

template <int BIG>
struct Shared {
    uint4 halo[OCTETS][(ROWS<BIG> + 2) * HALO_COLUMNS];
    float4 weights[TAPS * TAPS][BIG][CHANNELS / 4];
    NormValues<CHANNELS> norm;
    float rows[BIG == 1 ? 1 : WARPS][BIG == 1 ? 1 : 2 * COLUMNS * BIG];
};

template <int BIG, bool VECTOR>
__device__ __forceinline__ void load_halo(Shared<BIG> &shared, const FewDgradParams &p,
                                          const PixelTile &tile, int first)
{
    for (int i = threadIdx.x; i < OCTETS * (ROWS<BIG> + 2) * HALO_COLUMNS; i += THREADS) {
        const int octet = i % OCTETS;
        const int place = i / OCTETS;
        const int y = tile.y + place / HALO_COLUMNS - 1;
        const int x = tile.x + place % HALO_COLUMNS - 1;
        const int channel = first + octet * OCTET;
        const int pixel = (tile.n * p.side + y) * p.side + x;
        const bool exists = inside(y, p.side) && inside(x, p.side);
        const int count = exists ? p.c_small - channel : 0;
        uint4 values = load_octet<VECTOR>(p.input + (pixel * p.c_small + channel), count);
        if (p.saved != nullptr && count > 0) {
            values = shared.norm.template apply<!VECTOR>(values, octet, p.input_activation);
        }
        shared.halo[octet][place] = values;
    }
}

template <int BIG>
__device__ __forceinline__ void load_weights(Shared<BIG> &shared, const FewDgradParams &p, int first)
{
    for (int i = threadIdx.x; i < TAPS * TAPS * BIG * CHANNELS; i += THREADS) {
        const int channel = first + i % CHANNELS;
        const int own = i / CHANNELS % BIG;
        const int big = blockIdx.y * BIG + own;
        const int tap = i / CHANNELS / BIG;
        const bool exists = channel < p.c_small && big < p.c_big;
        (&shared.weights[tap][own][0].x)[i % CHANNELS] =
            exists ? p.weights[(tap * p.c_big + big) * p.c_small + channel] : 0.0f;
    }
}

__device__ __forceinline__ float add_dot(float sum, const float (&a)[4], float4 b)
{
    return fmaf(a[3], b.w, fmaf(a[2], b.z, fmaf(a[1], b.y, fmaf(a[0], b.x, sum))));
}

// The products of 8 small channels.
template <int PAD, int BIG>
__device__ __forceinline__ void add_octet(float (&sum)[BIG][DOWN<BIG>][2][2], const Shared<BIG> &shared,
                                          int octet, int row, int column, int bigs)
{
#pragma unroll
    for (int dx = 0; dx < 3; ++dx) {
        uint4 small[DOWN<BIG> + 2];
#pragma unroll
        for (int i = 0; i < DOWN<BIG> + 2; ++i) {
            small[i] = shared.halo[octet][(row + i) * HALO_COLUMNS + column + dx];
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float window[DOWN<BIG> + 2][4];
#pragma unroll
            for (int i = 0; i < DOWN<BIG> + 2; ++i) {
                const unsigned low = half == 0 ? small[i].x : small[i].z;
                const unsigned high = half == 0 ? small[i].y : small[i].w;
                window[i][0] = widen_low(low);
                window[i][1] = widen_high(low);
                window[i][2] = widen_low(high);
                window[i][3] = widen_high(high);
            }
#pragma unroll
            for (int big = 0; big < BIG; ++big) {
                if (BIG > 1 && big >= bigs) {
                    break;
                }
#pragma unroll
                for (int place = 0; place < 3 * 2 * 2; ++place) {
                    const int dy = place / 4;
                    const int down = place / 2 % 2;
                    const int across = place % 2;
                    const int r = down + 2 - 2 * dy + PAD;
                    const int s = across + 2 - 2 * dx + PAD;
                    if (r < 0 || r >= TAPS || s < 0 || s >= TAPS) {
                        continue;
                    }
                    const float4 weight = shared.weights[r * TAPS + s][big][2 * octet + half];
#pragma unroll
                    for (int i = 0; i < DOWN<BIG>; ++i) {
                        float &part = sum[big][i][down][across];
                        part = add_dot(part, window[i + dy], weight);
                    }
                }
            }
        }
    }
}

// What becomes of a sum: forward the activation, backward the slope at the map's value.
__device__ __forceinline__ float finished(const FewDgradParams &p, float sum, float bias, int at)
{
    return p.value != nullptr ? sum * slope(p.activation, p.value[at])
                              : activate(p.activation, sum + bias);
}

// Stores two rows of the maps for each row of positions.
template <int BIG, bool VECTOR>
__device__ __forceinline__ void store_rows(const float (&sum)[BIG][DOWN<BIG>][2][2],
                                           Shared<BIG> &shared, const FewDgradParams &p,
                                           const PixelTile &tile, int row, int column, int bigs)
{
    const int big_side = 2 * p.side;
    const int first = blockIdx.y * BIG;
    float bias[BIG];
#pragma unroll
    for (int big = 0; big < BIG; ++big) {
        bias[big] = p.bias != nullptr && big < bigs ? p.bias[first + big] : 0.0f;
    }
#pragma unroll
    for (int place = 0; place < 2 * DOWN<BIG>; ++place) {
        const int i = place / 2;
        const int down = place % 2;
        const int y = 2 * (tile.y + row + i) + down;
        if (y >= big_side) {
            break;
        }
        const int start = ((tile.n * big_side + y) * big_side + 2 * tile.x) * p.c_big + first;
        float *to = p.output + start;
        if constexpr (BIG == 1) {
            if (tile.x + column >= p.side) {
                continue;
            }
            const int at = 2 * column * p.c_big;
            float left = sum[0][i][down][0], right = sum[0][i][down][1];
            if constexpr (VECTOR) {
                if (p.value != nullptr) {
                    const float2 y = reinterpret_cast<const float2 *>(p.value + start)[column];
                    left *= slope(p.activation, y.x);
                    right *= slope(p.activation, y.y);
                } else {
                    left = activate(p.activation, left + bias[0]);
                    right = activate(p.activation, right + bias[0]);
                }
                reinterpret_cast<float2 *>(to)[column] = make_float2(left, right);
            } else {
                to[at] = finished(p, left, bias[0], start + at);
                to[at + p.c_big] = finished(p, right, bias[0], start + at + p.c_big);
            }
        } else {
            // Lanes have pixels, a row has channels side by side: they change hands.
            float *values = shared.rows[threadIdx.x / 32];
            __syncwarp();
#pragma unroll
            for (int big = 0; big < BIG; ++big) {
                if (big < bigs) {
                    values[2 * column * bigs + big] = sum[big][i][down][0] + bias[big];
                    values[(2 * column + 1) * bigs + big] = sum[big][i][down][1] + bias[big];
                }
            }
            __syncwarp();
            const int len = 2 * min(COLUMNS, p.side - tile.x) * bigs;
            for (int at = column; at < len; at += 32) {
                const int place = at / bigs * p.c_big + at % bigs;
                to[place] = finished(p, values[at], 0.0f, start + place);
            }
        }
    }
}

template <int PAD, int BIG, bool VECTOR>
__device__ __forceinline__ void few_dgrad(const FewDgradParams &p)
{
    __shared__ Shared<BIG> shared;
    const PixelTile tile(blockIdx.x, p.side, ROWS<BIG>, COLUMNS);
    const int row = threadIdx.x / COLUMNS * DOWN<BIG>;
    const int column = threadIdx.x % COLUMNS;
    const int bigs = min(BIG, p.c_big - static_cast<int>(blockIdx.y) * BIG);

    float sum[BIG][DOWN<BIG>][2][2] = {};
    for (int first = 0; first < p.c_small; first += CHANNELS) {
        __syncthreads();
        if (p.saved != nullptr) {
            const float *saved = p.saved + 2 * (tile.n / p.samples) * p.c_small;
            shared.norm.load(saved, p.affine, first, p.c_small);
            __syncthreads();
        }
        load_halo<BIG, VECTOR>(shared, p, tile, first);
        load_weights(shared, p, first);
        __syncthreads();
#pragma unroll 1
        for (int octet = 0; octet < OCTETS; ++octet) {
            add_octet<PAD>(sum, shared, octet, row, column, bigs);
        }
    }
    store_rows<BIG, VECTOR>(sum, shared, p, tile, row, column, bigs);
}

#define FEW_DGRAD(NAME, PAD, BIG, VECTOR, BLOCKS)                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                  \
        few_dgrad_v3_##NAME##_pad##PAD(const FewDgradParams p)                                     \
    {                                                                                              \
        few_dgrad<PAD, BIG, VECTOR>(p);                                                            \
    }

FEW_DGRAD(one, 1, 1, true, 5)
FEW_DGRAD(one, 2, 1, true, 5)
FEW_DGRAD(four, 1, 4, true, 4)
FEW_DGRAD(four, 2, 4, true, 4)
FEW_DGRAD(any, 1, 1, false, 4)
FEW_DGRAD(any, 2, 1, false, 4)
