// targets: sm_80
// occupancy: wgrad_v3_16 2
// occupancy: wgrad_v3_8 2
// occupancy: wgrad_v3_4 2
// occupancy: wgrad_v3_any 2
//
// wgrad, version 3: bf16 on tensor cores. For each tap a matrix product, big channels x pixels x
// small channels, of the shifted big plane's transpose and the small plane.
//
// Mapping: a block of 4 warps makes the five taps of one filter row, 64 big x 64 small channels,
// summed over the pixels of one part; `sum_partials` adds the parts. A warp makes 16 big x 64 small
// channels of all five taps: 160 sums a thread. Blocks of one part are adjacent, since they read the
// same pixels.
//
// Walk: the planes are cut into stripes of COLUMNS small columns. A stage is 32 small pixels in two
// halves, each 16 / COLUMNS lines of a stripe, and the 2 COLUMNS + 3 big pixels that a line meets in
// the filter row. Lines are numbered through the whole batch: small line i meets big line
// 2 i + r - pad_low, in its sample or beyond the edge. What does not exist is zero.
//
// Shared memory: 3 stages of 2 x (16 + 48) rows of 64 channels, 48 KiB, that cp.async fills two
// stages ahead; one barrier a stage. The summed index runs along the rows, so that both factors are
// read by ldmatrix.trans. The 16-byte pieces of a row are permuted by its number, those of the big
// plane, whose rows are read with stride 2, by half of it: no bank conflicts.
//
// Registers: 239 to 255, no spills; 2 blocks a multiprocessor on every target. Addresses of the next
// stage are worked out between the products of this one.
//
// Against version 2: tensor cores instead of fused multiply-adds, and the five taps of a row share
// their pixels: 1.3 MFLOP a stage of 12.8 (16 columns) to 15 KiB (4 columns), 100 to 85 FLOP a byte.
#include "half.cuh"
#include "strided.cuh"

// The part of the sum that stages part * chunk and on give goes to partial[part].
struct WgradV3Params {
    const bf16 *big;
    const bf16 *small;
    float *partial;  // [parts, 5, 5, c_big, c_small]
    int lines;       // of the small plane, of all samples
    int side;
    int c_big;
    int c_small;
    int pad_low;
    int chunk;   // stages of a part
    int stages;  // of all parts
    int unused;
};

constexpr int THREADS = 128;
constexpr int CHANNELS = 64;
// Small pixels of half a stage, those of one product of matrices.
constexpr int DEPTH = 16;
// Rows for the big pixels that they meet.
constexpr int BIG = 48;
// Of 16 bytes, of a row of CHANNELS.
constexpr int PIECES = 8;
// Rows that the block fills at a time.
constexpr int FILLED = THREADS / PIECES;
constexpr int PIPELINE = 3;

template <int COLUMNS_>
struct Walk {
    static constexpr int COLUMNS = COLUMNS_;
    static constexpr int LINES = DEPTH / COLUMNS;
    // Big pixels that a line of small ones meets, 2 COLUMNS + 3, and one that none meets.
    static constexpr int WIDTH = 2 * COLUMNS + 4;
    static_assert(LINES * WIDTH <= BIG, "the lines of a half fit");

    // How the pieces of a pixel's row are permuted: eight pixels that are read together have
    // different keys. With 4 columns they are of two lines, 12 rows apart.
    static __device__ int small_key(int pixel) { return pixel % PIECES; }
    static __device__ int big_key(int pixel)
    {
        const int shift = COLUMNS < PIECES ? pixel / WIDTH * 6 : 0;
        return (pixel / 2 + shift) % PIECES;
    }
};

struct Half {
    uint4 small[DEPTH][PIECES];
    uint4 big[BIG][PIECES];
};

struct Stage {
    Half halves[2];
};

// The 8 values at `from`, those from `count` on being zero.
__device__ __forceinline__ uint4 load_some(const bf16 *from, int count)
{
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const unsigned low = 2 * i < count ? from[2 * i].bits : 0;
        const unsigned high = 2 * i + 1 < count ? from[2 * i + 1].bits : 0;
        words[i] = low | high << 16;
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// Brings stages to shared memory, one after the other. VECTOR: pixels begin at multiples of 16
// bytes.
template <class W, bool VECTOR>
struct Source {
    const WgradV3Params &p;
    const int r;  // the filter row's distance from the meeting line
    const int big_channel;
    const int small_channel;
    // The next stage's first line and column.
    int line;
    int column;
    // The row of its sample that line `line` + lane is, and by how much a stage moves it.
    int y;
    const int step;

    __device__ Source(const WgradV3Params &p, int filter_row, int first_big, int first_small,
                      int stage)
        : p(p), r(filter_row - p.pad_low), big_channel(first_big + threadIdx.x % PIECES * 8),
          small_channel(first_small + threadIdx.x % PIECES * 8), step(2 * W::LINES % p.side)
    {
        const int stages = (p.lines + 2 * W::LINES - 1) / (2 * W::LINES);
        column = stage / stages * W::COLUMNS;
        line = stage % stages * 2 * W::LINES;
        y = (line + threadIdx.x % 32) % p.side;
    }

    // 8 channels of the pixel `at` values behind the plane's begin, or zeros.
    __device__ void bring(uint4 &to, const bf16 *plane, int at, int channels, bool exists)
    {
        if constexpr (VECTOR) {
            copy_async16(shared_address(&to), plane + at, exists & (channels > 0));
        } else {
            to = load_some(plane + at, exists ? channels : 0);
        }
    }

    // Without branches, so that the compiler can mix it with products. A stage that is not wanted is
    // zero.
    __device__ void fetch(Stage &stage, bool wanted)
    {
        // Bit i tells of line i of the stage.
        const bool exists = (line + static_cast<int>(threadIdx.x % 32) < p.lines) & wanted;
        const unsigned lines = __ballot_sync(~0u, exists);
        const unsigned meets = __ballot_sync(~0u, exists & inside(2 * y + r, 2 * p.side));
        const int big_side = 2 * p.side;
        const int big_column = 2 * column - p.pad_low;
        const int piece = threadIdx.x % PIECES;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            Half &to = stage.halves[half];
            const int first = line + half * W::LINES;
            const unsigned exist = lines >> half * W::LINES;
            const unsigned meet = meets >> half * W::LINES;
            {
                const int pixel = threadIdx.x / PIECES;
                const int y = pixel / W::COLUMNS;
                const int x = column + pixel % W::COLUMNS;
                bring(to.small[pixel][piece ^ W::small_key(pixel)], p.small,
                      ((first + y) * p.side + x) * p.c_small + small_channel,
                      p.c_small - small_channel, (exist >> y & 1) & (x < p.side));
            }
#pragma unroll
            for (int i = 0; i < BIG; i += FILLED) {
                const int pixel = i + threadIdx.x / PIECES;
                const int y = pixel / W::WIDTH;
                const int x = pixel % W::WIDTH;
                const int place = 2 * y * big_side + x;
                const int base = (2 * first + r) * big_side + big_column;
                bring(to.big[pixel][piece ^ W::big_key(pixel)], p.big,
                      base * p.c_big + (place * p.c_big + big_channel), p.c_big - big_channel,
                      (y < W::LINES) & (meet >> y & 1) & inside(big_column + x, big_side));
            }
        }
        advance();
    }

    __device__ void advance()
    {
        line += 2 * W::LINES;
        y += step;
        y -= y >= p.side ? p.side : 0;
        if (line >= p.lines) {
            line = 0;
            column += W::COLUMNS;
            y = threadIdx.x % 32 % p.side;
        }
    }
};

// The sums of a warp: 16 big x 64 small channels of five taps.
template <class W>
struct Sums {
    float sum[TAPS][PIECES][4] = {};
    // Where this lane's rows of matrices begin in half a stage: of the small plane, pieces 0 and 1;
    // of the big plane at filter columns 0, 2 and 4.
    unsigned small_row;
    unsigned big_row[3];

    __device__ Sums()
    {
        const int lane = threadIdx.x % 32;
        const int warp = threadIdx.x / 32;
        // Of the small factor matrices 1 and 3, of the big one 2 and 3 are of the later pixels.
        const int pixel = lane % DEPTH;
        small_row = 16 * (pixel * PIECES + (lane / 16 ^ W::small_key(pixel)));

        const int met = lane / 16 * 8 + lane % 8;
        const int piece = 2 * warp + lane / 8 % 2;
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            const int row = met / W::COLUMNS * W::WIDTH + 2 * (met % W::COLUMNS + i);
            big_row[i] = 16 * (row * PIECES + (piece ^ W::big_key(row)));
        }
    }

    __device__ void add(const Half &half)
    {
        constexpr int ROW = 16 * PIECES;
        const unsigned small = shared_address(half.small);
        unsigned right[PIECES / 2][4];
#pragma unroll
        for (int i = 0; i < PIECES / 2; ++i) {
            // Rows are multiples of 128 bytes: the pieces differ in bits 5 and 6 alone.
            load_transposed(right[i], small + (small_row ^ 32 * i));
        }
        const unsigned big = shared_address(half.big);
#pragma unroll
        for (int s = 0; s < TAPS; ++s) {
            unsigned left[4];
            load_transposed(left, big + big_row[s / 2] + s % 2 * ROW);
#pragma unroll
            for (int i = 0; i < PIECES / 2; ++i) {
                multiply_add(sum[s][2 * i], left, right[i][0], right[i][1]);
                multiply_add(sum[s][2 * i + 1], left, right[i][2], right[i][3]);
            }
        }
    }

    // To `partial` [5, c_big, c_small], this lane's first channels being `row` and `column`.
    template <bool VECTOR>
    __device__ void store(float *partial, int row, int column, int c_big, int c_small) const
    {
#pragma unroll
        for (int s = 0; s < TAPS; ++s) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float *to = partial + (s * c_big + row + 8 * half) * c_small;
                if (row + 8 * half >= c_big) {
                    continue;
                }
#pragma unroll
                for (int i = 0; i < PIECES; ++i) {
                    store2<VECTOR>(to, column + 8 * i, c_small, sum[s][i][2 * half],
                                   sum[s][i][2 * half + 1]);
                }
            }
        }
    }

    template <bool VECTOR>
    static __device__ void store2(float *to, int column, int columns, float first, float second)
    {
        if constexpr (VECTOR) {
            if (column < columns) {
                // A plain store is taken apart by nvcc 13.0.
                __stcg(reinterpret_cast<float2 *>(to + column), make_float2(first, second));
            }
        } else {
            if (column < columns) {
                to[column] = first;
            }
            if (column + 1 < columns) {
                to[column + 1] = second;
            }
        }
    }
};

template <class W, bool VECTOR>
__device__ __forceinline__ void wgrad(const WgradV3Params &p)
{
    __shared__ __align__(128) Stage stages[PIPELINE];

    const int small_tiles = (p.c_small + CHANNELS - 1) / CHANNELS;
    const int big_tiles = (p.c_big + CHANNELS - 1) / CHANNELS;
    const int first_small = blockIdx.x % small_tiles * CHANNELS;
    const int first_big = blockIdx.x / small_tiles % big_tiles * CHANNELS;
    const int filter_row = blockIdx.x / small_tiles / big_tiles % TAPS;
    const int part = blockIdx.x / small_tiles / big_tiles / TAPS;
    const int start = part * p.chunk;
    const int count = min(p.chunk, p.stages - start);

    Source<W, VECTOR> source(p, filter_row, first_big, first_small, start);
    Sums<W> sums;
    const int own_big = first_big + 16 * (threadIdx.x / 32);

#pragma unroll
    for (int i = 0; i < PIPELINE - 1; ++i) {
        source.fetch(stages[i], i < count);
        commit_copies();
    }
    int full = 0;
    for (int i = 0; i < count; ++i) {
        wait_copies<PIPELINE - 2>();
        // All copies of this stage are there, and nobody reads the one that is filled next.
        __syncthreads();
        Stage &next = stages[full == 0 ? PIPELINE - 1 : full - 1];
        const bool more = i + PIPELINE - 1 < count;
        if (VECTOR && own_big < p.c_big) {
            sums.add(stages[full].halves[0]);
            source.fetch(next, more);
            sums.add(stages[full].halves[1]);
        } else {
            source.fetch(next, more);
            if (own_big < p.c_big) {
                sums.add(stages[full].halves[0]);
                sums.add(stages[full].halves[1]);
            }
        }
        commit_copies();
        full = full + 1 == PIPELINE ? 0 : full + 1;
    }
    wait_copies<0>();

    const int lane = threadIdx.x % 32;
    const size_t place = static_cast<size_t>(part * TAPS + filter_row) * TAPS;
    sums.template store<VECTOR>(p.partial + place * p.c_big * p.c_small, own_big + lane / 4,
                                first_small + lane % 4 * 2, p.c_big, p.c_small);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) wgrad_v3_16(const WgradV3Params p)
{
    wgrad<Walk<16>, true>(p);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) wgrad_v3_8(const WgradV3Params p)
{
    wgrad<Walk<8>, true>(p);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) wgrad_v3_4(const WgradV3Params p)
{
    wgrad<Walk<4>, true>(p);
}

// Any channel counts and addresses.
extern "C" __global__ void __launch_bounds__(THREADS, 2) wgrad_v3_any(const WgradV3Params p)
{
    wgrad<Walk<4>, false>(p);
}
