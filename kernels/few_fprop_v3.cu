// targets: sm_80
// occupancy: few_fprop_v3_forward 2
// occupancy: few_fprop_v3_forward_any 2
// occupancy: few_fprop_v3_moments 2
// occupancy: few_fprop_v3_moments_any 2
// occupancy: few_fprop_v3_backward 2
// occupancy: few_fprop_v3_backward_any 2
// occupancy: few_fprop_v3_applied 2
// occupancy: few_fprop_v3_applied_any 1
//
// fprop from maps in f32 to a small plane in bf16, and what is done with the sums before they are
// stored: the end of a block's forward pass, or of a gradient's way back through one.
//
// Ladder: few_fprop (f32) made 4 pixels by 4 channels a thread, for 8 FLOP a 16-byte read of
// weights; here it is 8 by 8, for 32, and a thread moves 8 channels of the small plane in 16 bytes.
// A block walks over `chunk` tiles with the weights in shared memory, and leaves one part of the
// moments or sums of what it made.
//
// Mapping: a block of 256 threads makes tiles of 8 x 32 pixels by 64 channels (blockIdx.y) of one
// group of samples (blockIdx.z). A warp covers 4 rows x 8 columns x 64 channels, a thread 8
// adjacent pixels of a row by 8 channels; 8 lanes store a pixel's 128 bytes. For one big channel
// after the other, the big pixels that the tile meets (19 x 68) and the filter's 25 x 64 weights go
// through shared memory: 18 KiB with what the ends need. At most 128 registers: 2 blocks a
// multiprocessor on all targets (applied_any: one more, and 1 block before sm_90).
#include "few_v3.cuh"

struct FewFpropParams {
    const float *big;
    const float *weights;
    const float *bias;     // forward; may be null
    const bf16 *value;     // backward: the block's linear output or, without norm, its output
    const float *saved;    // [groups, 2, c_small]: mean, scale; null without norm
    const float *affine;   // [2, c_small]: gamma, beta
    const float *totals;   // applied: [groups, 2, c_small], sums of g and of g xhat over all rows
    bf16 *output;
    float *parts;          // [groups, parts, 2, c_small] and, for moments, [groups, parts]; may be null
    int samples;           // of a group
    int side;
    int c_big;
    int c_small;
    int pad_low;
    int activation;
    int chunk;             // tiles of a part
    int unused;
};

constexpr int ROWS = 8;
constexpr int COLUMNS = 32;
constexpr int CHANNELS = 64;
constexpr int ADJACENT = 8;
constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr int HALO_ROWS = 2 * ROWS + TAPS - 2;
constexpr int HALO_COLUMNS = 2 * COLUMNS + 4;
// Octets of the small plane that are on their way to a thread.
constexpr int AHEAD = 2;
constexpr int WINDOW = 2 * ADJACENT + 4;

// What is done with the sums. MOMENTS: forward, with the moments of what is stored. BACKWARD sums g
// and stores it where there is an output, APPLIED stores the gradient of the norm's input.
enum End { FORWARD, MOMENTS, BACKWARD, APPLIED };

// Mean and centred sum of squares of `count` values of each of 8 channels.
struct Moments {
    float mean[OCTET];
    float square[OCTET];
    float count;

    __device__ __forceinline__ void merge(const Moments &other)
    {
        const float total = count + other.count;
        const float weight = total > 0.0f ? other.count / total : 0.0f;
#pragma unroll
        for (int i = 0; i < OCTET; ++i) {
            const float delta = other.mean[i] - mean[i];
            mean[i] += delta * weight;
            square[i] += other.square[i] + delta * delta * (count * weight);
        }
        count = total;
    }

    // One more of each, the second half last.
    __device__ __forceinline__ void add(int half, const float (&values)[4])
    {
        const float share = 1.0f / (count + 1.0f);
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            const int i = 4 * half + b;
            const float delta = values[b] - mean[i];
            mean[i] = fmaf(delta, share, mean[i]);
            square[i] = fmaf(delta, values[b] - mean[i], square[i]);
        }
        count += half == 1 ? 1.0f : 0.0f;
    }

    __device__ __forceinline__ Moments from_lane(int distance) const
    {
        Moments other;
#pragma unroll
        for (int i = 0; i < OCTET; ++i) {
            other.mean[i] = __shfl_down_sync(~0u, mean[i], distance);
            other.square[i] = __shfl_down_sync(~0u, square[i], distance);
        }
        other.count = __shfl_down_sync(~0u, count, distance);
        return other;
    }
};

// Sums of g and of g xhat of each of 8 channels.
struct Sums {
    float plain[OCTET];
    float weighted[OCTET];

    __device__ __forceinline__ void add(int half, const float (&g)[4], const float (&xhat)[4])
    {
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            plain[4 * half + b] += g[b];
            weighted[4 * half + b] = fmaf(g[b], xhat[b], weighted[4 * half + b]);
        }
    }

    __device__ __forceinline__ void merge(const Sums &other)
    {
#pragma unroll
        for (int i = 0; i < OCTET; ++i) {
            plain[i] += other.plain[i];
            weighted[i] += other.weighted[i];
        }
    }

    __device__ __forceinline__ Sums from_lane(int distance) const
    {
        Sums other;
#pragma unroll
        for (int i = 0; i < OCTET; ++i) {
            other.plain[i] = __shfl_down_sync(~0u, plain[i], distance);
            other.weighted[i] = __shfl_down_sync(~0u, weighted[i], distance);
        }
        return other;
    }
};

template <int END>
struct Part {
    using Type = Sums;
};

template <>
struct Part<MOMENTS> {
    using Type = Moments;
};

struct Shared {
    float4 halo[HALO_ROWS][HALO_COLUMNS / 4];
    float4 weights[TAPS * TAPS][CHANNELS / 4];
    float4 bias[CHANNELS / 4];
    float4 plain[CHANNELS / 4];     // mean of g over the group's rows
    float4 weighted[CHANNELS / 4];  // mean of g xhat
    float4 factor[CHANNELS / 4];    // gamma scale
    NormValues<CHANNELS> norm;
};

__device__ __forceinline__ void load_weights(Shared &shared, const FewFpropParams &p, int first,
                                             int big)
{
    for (int i = threadIdx.x; i < TAPS * TAPS * CHANNELS; i += THREADS) {
        const int tap = i / CHANNELS;
        const int channel = first + i % CHANNELS;
        float *to = &shared.weights[tap][0].x + octet_place(i % CHANNELS);
        const bool exists = channel < p.c_small;
        *to = exists ? p.weights[(tap * p.c_big + big) * p.c_small + channel] : 0.0f;
    }
}

template <int END>
__device__ __forceinline__ void load_constants(Shared &shared, const FewFpropParams &p, int first)
{
    const int group = blockIdx.z;
    if (END >= BACKWARD && p.saved != nullptr) {
        shared.norm.load(p.saved + 2 * group * p.c_small, p.affine, first, p.c_small);
    }
    const float rows = static_cast<float>(p.samples * p.side * p.side);
    for (int i = threadIdx.x; i < CHANNELS; i += THREADS) {
        const int channel = first + i;
        const bool exists = channel < p.c_small;
        const int at = octet_place(i);
        if (END < BACKWARD) {
            const bool biased = exists && p.bias != nullptr;
            (&shared.bias[0].x)[at] = biased ? p.bias[channel] : 0.0f;
        }
        if (END == APPLIED) {
            const float *totals = p.totals + 2 * group * p.c_small + channel;
            (&shared.plain[0].x)[at] = exists ? totals[0] / rows : 0.0f;
            (&shared.weighted[0].x)[at] = exists ? totals[p.c_small] / rows : 0.0f;
            const float scale = exists ? p.saved[(2 * group + 1) * p.c_small + channel] : 0.0f;
            (&shared.factor[0].x)[at] = exists ? p.affine[channel] * scale : 0.0f;
        }
    }
}

// The sums' share of one big channel.
__device__ __forceinline__ void add_taps(float (&sum)[ADJACENT][2][4], const Shared &shared,
                                         int row, int column, int octet)
{
#pragma unroll 1
    for (int r = 0; r < TAPS; ++r) {
        float window[WINDOW];
#pragma unroll
        for (int i = 0; i < WINDOW / 4; ++i) {
            const float4 quad = shared.halo[2 * row + r][column / 2 + i];
            window[4 * i] = quad.x;
            window[4 * i + 1] = quad.y;
            window[4 * i + 2] = quad.z;
            window[4 * i + 3] = quad.w;
        }
#pragma unroll
        for (int s = 0; s < TAPS; ++s) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float weight[4];
                read_quad(shared.weights[r * TAPS + s], octet, half, weight);
#pragma unroll
                for (int i = 0; i < ADJACENT; ++i) {
#pragma unroll
                    for (int b = 0; b < 4; ++b) {
                        sum[i][half][b] = fmaf(window[2 * i + s], weight[b], sum[i][half][b]);
                    }
                }
            }
        }
    }
}

// Two words of 4 values in bf16; the values become the rounded ones.
__device__ __forceinline__ uint2 narrow_quad(float (&values)[4])
{
    const uint2 words = make_uint2(narrow2(values[0], values[1]), narrow2(values[2], values[3]));
    values[0] = widen_low(words.x);
    values[1] = widen_high(words.x);
    values[2] = widen_low(words.y);
    values[3] = widen_high(words.y);
    return words;
}

// 4 of a thread's channels: what the ends do with them.
template <bool ANY>
struct Quad {
    const Shared &shared;
    int octet;
    int half;

    // `sum` becomes what the block's forward pass stores.
    __device__ __forceinline__ uint2 forward(float (&sum)[4], int activation) const
    {
        float bias[4];
        read_quad(shared.bias, octet, half, bias);
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            sum[b] += bias[b];
        }
        activate_all<ANY>(activation, sum);
        return narrow_quad(sum);
    }

    // `sum` becomes g, and `xhat` the normalised values, 0 without a norm.
    __device__ __forceinline__ uint2 backward(float (&sum)[4], float (&xhat)[4], uint2 words,
                                              bool norm, int activation) const
    {
        float outputs[4] = {widen_low(words.x), widen_high(words.x), widen_low(words.y),
                            widen_high(words.y)};
        if (norm) {
            float mean[4], scale[4], gamma[4], beta[4];
            read_quad(shared.norm.mean, octet, half, mean);
            read_quad(shared.norm.scale, octet, half, scale);
            read_quad(shared.norm.gamma, octet, half, gamma);
            read_quad(shared.norm.beta, octet, half, beta);
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                xhat[b] = normalised(outputs[b], mean[b], scale[b]);
                outputs[b] = activation_input(xhat[b], gamma[b], beta[b]);
            }
            if (ANY && activation == TANH) {
                activate_all<ANY>(TANH, outputs);
            }
        } else {
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                xhat[b] = 0.0f;
            }
        }
        // But for tanh the sign decides, which the activation keeps.
        const float low = activation == RELU ? 0.0f : activation == LEAKY_RELU ? 0.2f : 1.0f;
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            const float y = outputs[b];
            const float step = y > 0.0f ? 1.0f : low;
            sum[b] *= ANY && activation == TANH ? 1.0f - y * y : step;
        }
        return narrow_quad(sum);
    }

    // The gradient of the norm's input, from g.
    __device__ __forceinline__ uint2 applied(float (&g)[4], const float (&xhat)[4]) const
    {
        float plain[4], weighted[4], factor[4];
        asm volatile("" ::: "memory");
        read_quad(shared.plain, octet, half, plain);
        read_quad(shared.weighted, octet, half, weighted);
        read_quad(shared.factor, octet, half, factor);
#pragma unroll
        for (int b = 0; b < 4; ++b) {
            g[b] = factor[b] * (g[b] - fmaf(xhat[b], weighted[b], plain[b]));
        }
        return narrow_quad(g);
    }
};

// A thread's part of the tiles so far, in shared memory: while sums are made there are no registers
// for it.
template <class P>
__device__ __forceinline__ void keep(float (&kept)[sizeof(P) / 4][THREADS], P part, bool first)
{
    float *values = reinterpret_cast<float *>(&part);
    if (!first) {
        P before;
        float *sums = reinterpret_cast<float *>(&before);
#pragma unroll
        for (int i = 0; i < sizeof(P) / 4; ++i) {
            sums[i] = kept[i][threadIdx.x];
        }
        before.merge(part);
        part = before;
    }
#pragma unroll
    for (int i = 0; i < sizeof(P) / 4; ++i) {
        kept[i][threadIdx.x] = values[i];
    }
}

// Merges the threads' parts in a fixed order and stores that of the block.
template <class P>
__device__ __forceinline__ void store_part(const float (&kept)[sizeof(P) / 4][THREADS],
                                           const FewFpropParams &p, int octet, int channel)
{
    __shared__ P warps[WARPS][OCTET];
    P part;
    float *values = reinterpret_cast<float *>(&part);
#pragma unroll
    for (int i = 0; i < sizeof(P) / 4; ++i) {
        values[i] = kept[i][threadIdx.x];
    }
    part.merge(part.from_lane(8));
    part.merge(part.from_lane(16));
    // Of 4 lanes that are 8 apart, lane / 8 = 0 has all: (0 + 1) + (2 + 3).
    const int warp = threadIdx.x / 32;
    if (threadIdx.x % 32 < OCTET) {
        warps[warp][octet] = part;
    }
    __syncthreads();
    if (threadIdx.x >= OCTET) {
        return;
    }
    for (int other = 1; other < WARPS; ++other) {
        part.merge(warps[other][octet]);
    }
    const int block = blockIdx.z * gridDim.x + blockIdx.x;
    float *to = p.parts + 2 * block * p.c_small + channel;
#pragma unroll
    for (int b = 0; b < OCTET; ++b) {
        if (channel + b < p.c_small) {
            to[b] = values[b];
            to[p.c_small + b] = values[OCTET + b];
        }
    }
    if constexpr (sizeof(P) == sizeof(Moments)) {
        if (octet == 0 && blockIdx.y == 0) {
            p.parts[2 * gridDim.z * gridDim.x * p.c_small + block] = part.count;
        }
    }
}

template <int END, bool VECTOR>
__device__ __forceinline__ void few_fprop(const FewFpropParams &p)
{
    __shared__ Shared shared;
    using P = typename Part<END>::Type;
    __shared__ float kept[sizeof(P) / 4][THREADS];
    const int octet = threadIdx.x % 8;
    const int row = threadIdx.x / 8 % 8;
    const int column = threadIdx.x / 64 * ADJACENT;
    const int first = blockIdx.y * CHANNELS;
    const int channel = first + OCTET * octet;
    const int count = p.c_small - channel;
    const bool norm = p.saved != nullptr;
    const int tiles = p.samples * ((p.side + ROWS - 1) / ROWS) * ((p.side + COLUMNS - 1) / COLUMNS);

    load_constants<END>(shared, p, first);
    if (p.c_big == 1) {
        load_weights(shared, p, first, 0);
    }
    const int start = blockIdx.x * p.chunk;
    for (int index = start; index < min(start + p.chunk, tiles); ++index) {
        const PixelTile tile(blockIdx.z * tiles + index, p.side, ROWS, COLUMNS);
        const int y = tile.y + row;
        const int x = tile.x + column;
        const int existing = y < p.side ? min(ADJACENT, p.side - x) : 0;
        float sum[ADJACENT][2][4] = {};
        for (int big = 0; big < p.c_big; ++big) {
            __syncthreads();
            load_halo(&shared.halo[0][0].x, HALO_ROWS, HALO_COLUMNS, p.big, tile, p.side, p.c_big,
                      big, p.pad_low);
            if (p.c_big > 1) {
                load_weights(shared, p, first, big);
            }
            __syncthreads();
            if (existing > 0) {
                add_taps(sum, shared, row, column, octet);
            }
        }

        const int pixel = (tile.n * p.side + y) * p.side + x;
        const int at = pixel * p.c_small + channel;
        uint4 values[AHEAD];
        P part = {};
#pragma unroll
        for (int i = 0; i < ADJACENT; ++i) {
            const int here = i < existing ? count : 0;
            const int place = at + i * p.c_small;
            if constexpr (END == BACKWARD || END == APPLIED) {
                if (i % AHEAD == 0) {
#pragma unroll
                    for (int j = 0; j < AHEAD; ++j) {
                        const int there = i + j < existing ? count : 0;
                        values[j] = load_octet<VECTOR>(p.value + place + j * p.c_small, there);
                    }
                }
            }
            uint2 halves[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                // The constants of the ends are read again for each pixel: there are no registers
                // to keep them in.
                asm volatile("" ::: "memory");
                const Quad<!VECTOR> quad = {shared, octet, half};
                float(&own)[4] = sum[i][half];
                if constexpr (END == FORWARD || END == MOMENTS) {
                    halves[half] = quad.forward(own, p.activation);
                    if constexpr (END == MOMENTS) {
                        if (i < existing) {
                            part.add(half, own);
                        }
                    }
                } else {
                    const uint4 value = values[i % AHEAD];
                    const uint2 words =
                        half == 0 ? make_uint2(value.x, value.y) : make_uint2(value.z, value.w);
                    float xhat[4];
                    halves[half] = quad.backward(own, xhat, words, norm, p.activation);
                    if constexpr (END == APPLIED) {
                        halves[half] = quad.applied(own, xhat);
                    } else if (i < existing) {
                        part.add(half, own, xhat);
                    }
                }
            }
            const uint4 result =
                make_uint4(halves[0].x, halves[0].y, halves[1].x, halves[1].y);
            if (END != BACKWARD || p.output != nullptr) {
                store_octet<VECTOR>(p.output + place, here, result);
            }
        }
        if constexpr (END == MOMENTS || END == BACKWARD) {
            keep(kept, part, index == start);
        }
    }
    if constexpr (END == MOMENTS || END == BACKWARD) {
        if (p.parts != nullptr) {
            store_part<P>(kept, p, octet, channel);
        }
    }
}

#define FEW_FPROP(NAME, END)                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS, 2)                                       \
        few_fprop_v3_##NAME(const FewFpropParams p)                                                \
    {                                                                                              \
        few_fprop<END, true>(p);                                                                   \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS)                                          \
        few_fprop_v3_##NAME##_any(const FewFpropParams p)                                          \
    {                                                                                              \
        few_fprop<END, false>(p);                                                                  \
    }

FEW_FPROP(forward, FORWARD)
FEW_FPROP(moments, MOMENTS)
FEW_FPROP(backward, BACKWARD)
FEW_FPROP(applied, APPLIED)
