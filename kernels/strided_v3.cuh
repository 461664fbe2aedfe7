// fprop and dgrad of the strided layer, version 3: what the two have in common. bf16 in memory, f32
// sums on tensor cores.
//
// The parity view. Let kappa = k % 2 be a tap's parity: 3 taps for 0, 2 for 1. In each dimension tap
// k = kappa + 2 i joins row y + first + i of one plane (dgrad: y + first + the number of the tap from
// behind) with row y of the other, both of S rows: of the big plane they are the rows 2 y + q, q =
// (kappa + pad_low) % 2. So the 25 taps are four convolutions of stride 1 of 3x3, 3x2, 2x3 and 2x2
// taps; fprop adds them up, dgrad makes a quarter of its output by each.
//
// Mapping: a block makes ROWS x 16 small pixels (rows of 16 pixels of one image, of 8 pixels of 2 or
// of 4 pixels of 4; a tile lies in one group of samples) by 32 WARPS output channels; a warp makes
// all pixels by 32 channels. Four m16n8 sums a row of 16 pixels.
//
// Left factor: 16 channels of the pixels that a parity's taps meet, a patch of (ROWS + 2) x
// (columns + 2) pixels an image, come by cp.async into a ring of STAGES in shared memory; one barrier
// a stage of 4 to 9 taps. The two halves of 8 channels lie in planes of 16 bytes a pixel, so that any
// 8 pixels of a row (and of two images, 4 each) are read by ldmatrix without bank conflicts, and a
// tap is a constant offset. The fragment of a row is read once for all taps of a column.
//
// Right factor: packed in the order of reading (pack.cu), fragment by fragment, straight from global
// memory into registers, one column of taps ahead.
#pragma once

#include "activation.cuh"
#include "half.cuh"

struct HalfStridedParams {
    const bf16 *input;
    const uint4 *weights;  // packed
    bf16 *output;
    const float *bias;    // forward; may be null
    const bf16 *value;    // backward: of the output's shape
    const float *saved;   // backward: mean and scale, [groups, 2, c_out]; null without a batch norm
    const float *affine;  // backward: gamma and beta, [2, c_out]
    float *sums;          // moments or sums of each tile; may be null
    int samples;          // of a group
    int groups;
    int side;  // S, of the small plane
    int c_in;
    int c_out;
    int pad_low;
    int activation;
    int backward;
    int columns;  // logarithm of the columns of a tile
    int unused;
};

constexpr int STAGES = 3;

// Channels of a stage.
constexpr int DEPTH = 16;

// Output channels of a warp.
constexpr int WIDTH = 32;

// Whether 0 <= i < end, in one comparison.
__device__ __forceinline__ bool inside(int i, int end)
{
    return static_cast<unsigned>(i) < static_cast<unsigned>(end);
}

template <bool FPROP_, int ROWS_, int WARPS_, bool ANY_>
struct Kernel {
    static constexpr bool FPROP = FPROP_;
    static constexpr int ROWS = ROWS_;
    static constexpr int WARPS = WARPS_;
    // Channel counts that are no multiples of 8.
    static constexpr bool ANY = ANY_;
    static constexpr int THREADS = 32 * WARPS;
    // Distance of neighbours of a parity in the input and in the output.
    static constexpr int STEP_IN = FPROP ? 2 : 1;
    static constexpr int STEP_OUT = FPROP ? 1 : 2;
    // Of the largest patch: 2 images of 10 x 10 pixels, 4 images of 6 x 6.
    static constexpr int PIXELS = ROWS == 8 ? 200 : 144;
    // Half a wavefront more, for the writes of both halves of a pixel.
    static constexpr int PLANE = 16 * PIXELS + 64;
    static constexpr int STAGE = 2 * PLANE;
    // Pieces of 16 bytes that a thread copies.
    static constexpr int SLOTS = (2 * PIXELS + THREADS - 1) / THREADS;
    static_assert(ROWS == 8 || ROWS == 4, "rows of a tile");
    static_assert(4 * SLOTS <= 32, "the mask has four bits a piece");

    // The first row (column) that the taps of a parity meet from row (column) 0.
    static __device__ int first(int kappa, int pad_low)
    {
        return kappa == 0 ? -1 : FPROP ? 1 - pad_low : pad_low - 2;
    }

    // Row (column) of the big plane's pixels of a tap's parity, modulo 2.
    static __device__ int odd(int kappa, int pad_low)
    {
        return (kappa + pad_low) % 2;
    }
};

// The block's tile.
struct Place {
    int group;
    int part;   // of the group
    int parts;  // of a group
    int sample;
    int samples;  // of the group, from `sample` on
    int y;
    int x;
    int channel;

    template <class K>
    static __device__ Place of_block(const HalfStridedParams &p)
    {
        const int columns = 1 << p.columns;
        const int images = 16 >> p.columns;
        const int across = (p.side + columns - 1) >> p.columns;
        const int down = (p.side + K::ROWS - 1) / K::ROWS;
        const int blocks = (p.c_out + WIDTH * K::WARPS - 1) / (WIDTH * K::WARPS);
        const int tile = blockIdx.x / blocks;
        Place place;
        place.parts = (p.samples + images - 1) / images * down * across;
        place.group = tile / place.parts;
        place.part = tile - place.group * place.parts;
        const int row = place.part / across;
        const int skipped = row / down * images;
        place.sample = place.group * p.samples + skipped;
        place.samples = p.samples - skipped;
        place.y = row % down * K::ROWS;
        place.x = (place.part - row * across) << p.columns;
        place.channel = blockIdx.x % blocks * (WIDTH * K::WARPS);
        return place;
    }
};

// Which patch comes next: dgrad's channels follow one another within a parity, fprop's two parities
// across within the channels.
template <class K>
struct Cursor {
    int vertical = 0;
    int horizontal = 0;
    int chunk = 0;

    __device__ void advance(int chunks)
    {
        if constexpr (K::FPROP) {
            horizontal ^= 1;
            chunk += horizontal == 0;
            if (chunk == chunks) {
                chunk = 0;
                ++vertical;
            }
        } else if (++chunk == chunks) {
            chunk = 0;
            horizontal ^= 1;
            vertical += horizontal == 0;
        }
    }
};

// A thread's share of the patches: every THREADS-th piece, all of the same half of the channels.
template <class K>
struct Copies {
    int offsets[K::SLOTS];
    unsigned exists = 0;  // bit 4 slot + 2 vertical + horizontal
    int pieces;
    unsigned to;

    __device__ Copies(const HalfStridedParams &p, const Place &place, unsigned ring)
    {
        const int columns = (1 << p.columns) + 2;
        const int area = (K::ROWS + 2) * columns;
        const int side = K::STEP_IN * p.side;
        pieces = 2 * area * (16 >> p.columns);
        const int half = threadIdx.x % 2;
        to = ring + half * K::PLANE + threadIdx.x / 2 * 16;
#pragma unroll
        for (int slot = 0; slot < K::SLOTS; ++slot) {
            const int pixel = (threadIdx.x + slot * K::THREADS) / 2;
            const int image = pixel / area;
            const int y = (pixel - image * area) / columns;
            const int x = pixel % columns;
            const int row = (place.sample + image) * side + K::STEP_IN * (place.y + y);
            offsets[slot] = (row * side + K::STEP_IN * (place.x + x)) * p.c_in + 8 * half;
#pragma unroll
            for (int parities = 0; parities < 4; ++parities) {
                const int vertical = parities / 2;
                const int horizontal = parities % 2;
                const bool meets = image < place.samples && y < K::ROWS + 2 - vertical &&
                                   x < columns - horizontal &&
                                   inside(place.y + y + K::first(vertical, p.pad_low), p.side) &&
                                   inside(place.x + x + K::first(horizontal, p.pad_low), p.side);
                exists |= static_cast<unsigned>(meets) << (4 * slot + parities);
            }
        }
    }

    // The patch of a parity and a chunk of channels, to a stage `offset` bytes behind the first one.
    __device__ void issue(const HalfStridedParams &p, const Cursor<K> &at, int offset) const
    {
        int row = K::STEP_IN * K::first(at.vertical, p.pad_low);
        int column = K::STEP_IN * K::first(at.horizontal, p.pad_low);
        if constexpr (K::FPROP) {
            row += K::odd(at.vertical, p.pad_low);
            column += K::odd(at.horizontal, p.pad_low);
        }
        const int channel = at.chunk * DEPTH;
        const int shift = (row * K::STEP_IN * p.side + column) * p.c_in + channel;
        const int left = p.c_in - channel - 8 * static_cast<int>(threadIdx.x % 2);
        const unsigned bits = left > 0 ? exists >> (2 * at.vertical + at.horizontal) : 0;
#pragma unroll
        for (int slot = 0; slot < K::SLOTS; ++slot) {
            if (static_cast<int>(threadIdx.x) + slot * K::THREADS < pieces) {
                const bf16 *from = p.input + (offsets[slot] + shift);
                const bool read = bits >> (4 * slot) & 1;
                const unsigned target = to + offset + slot * (K::THREADS / 2 * 16);
                if constexpr (K::ANY) {
                    copy_few(target, from, read ? left : 0);
                } else {
                    copy_async16(target, from, read);
                }
            }
        }
    }

    // The first `count` of 8 values, then zeros.
    static __device__ void copy_few(unsigned to, const bf16 *from, int count)
    {
        unsigned words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const unsigned low = 2 * i < count ? from[2 * i].bits : 0;
            const unsigned high = 2 * i + 1 < count ? from[2 * i + 1].bits : 0;
            words[i] = low | high << 16;
        }
        asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(words[0]),
                     "r"(words[1]), "r"(words[2]), "r"(words[3])
                     : "memory");
    }
};

// A lane's fragments of the weights of a column of taps.
struct Column {
    uint4 taps[3][2];

    template <int TAPS>
    __device__ void load(const uint4 *from, int stride)
    {
#pragma unroll
        for (int tap = 0; tap < TAPS; ++tap) {
            taps[tap][0] = __ldg(from + tap * stride);
            taps[tap][1] = __ldg(from + tap * stride + 32);
        }
    }
};

template <int ROWS>
using Sums = float[ROWS][4][4];

// sum += rows of pixels from `address` on by a column of TAPS taps.
template <int TAPS, int ROWS>
__device__ __forceinline__ void multiply(Sums<ROWS> &sum, const Column &column, unsigned address,
                                         unsigned pitch)
{
#pragma unroll
    for (int row = 0; row < ROWS + TAPS - 1; ++row) {
        unsigned pixels[4];
        load_matrices(pixels, address + row * pitch);
#pragma unroll
        for (int tap = 0; tap < TAPS; ++tap) {
            const int to = row - tap;
            if (to < 0 || to >= ROWS) {
                continue;
            }
            const uint4 &low = column.taps[tap][0];
            const uint4 &high = column.taps[tap][1];
            multiply_add(sum[to][0], pixels, low.x, low.y);
            multiply_add(sum[to][1], pixels, low.z, low.w);
            multiply_add(sum[to][2], pixels, high.x, high.y);
            multiply_add(sum[to][3], pixels, high.z, high.w);
        }
    }
}

// The walk over all patches and weights of the block's tile.
template <class K>
class Walk {
    const HalfStridedParams &p;
    const Copies<K> copies;
    Cursor<K> next;
    const int chunks;
    // Of stages, from the first one on.
    int filling = 0;
    int reading = 0;
    const unsigned pitch;
    unsigned pixels;
    const int stride;
    const uint4 *weights;

    __device__ void fill()
    {
        if (next.vertical < 2) {
            copies.issue(p, next, filling);
            next.advance(chunks);
        }
        commit_copies();
        filling = filling == (STAGES - 1) * K::STAGE ? 0 : filling + K::STAGE;
    }

  public:
    __device__ Walk(const HalfStridedParams &p, const Place &place, unsigned ring)
        : p(p), copies(p, place, ring), chunks((p.c_in + DEPTH - 1) / DEPTH),
          pitch(16 * ((1 << p.columns) + 2)), stride((p.c_out + WIDTH - 1) / WIDTH * 64)
    {
        const int lane = threadIdx.x % 32;
        const int pixel = lane % 16;
        const int image = pixel >> p.columns;
        const int column_of_tile = pixel - (image << p.columns);
        pixels = ring + lane / 16 * K::PLANE + image * (K::ROWS + 2) * pitch + 16 * column_of_tile;
        // A warp beyond the last channel makes the last ones once more, and stores nothing.
        const int group = min(place.channel / WIDTH + static_cast<int>(threadIdx.x) / 32,
                              stride / 64 - 1);
        weights = p.weights + group * 64 + lane;
#pragma unroll
        for (int stage = 0; stage < STAGES - 1; ++stage) {
            fill();
        }
    }

    // sum += the next `stages` patches by their taps, TAPS of them in a column. The columns of a
    // patch are `across`, and of fprop's every other patch one less. What is ahead of the last column
    // is left for the next call: its registers are wanted in between.
    template <int TAPS>
    __device__ void accumulate(Sums<K::ROWS> &sum, int stages, int across)
    {
        int columns = stages * across - (K::FPROP ? stages / 2 : 0);
        Column column = {};
        column.load<TAPS>(weights, stride);
        for (int stage = 0; stage < stages; ++stage) {
            wait_copies<STAGES - 2>();
            __syncthreads();
            fill();
            const int end = K::FPROP ? across - stage % 2 : across;
#pragma unroll 1
            for (int i = 0; i < end; ++i) {
                weights += TAPS * stride;
                Column ahead = column;
                if (--columns > 0) {
                    ahead.load<TAPS>(weights, stride);
                }
                multiply<TAPS, K::ROWS>(sum, column, pixels + reading + 16 * i, pitch);
                column = ahead;
            }
            reading = reading == (STAGES - 1) * K::STAGE ? 0 : reading + K::STAGE;
        }
    }

    __device__ int all_chunks() const
    {
        return chunks;
    }
};
