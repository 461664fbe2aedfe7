// targets: sm_75
//
// wgrad, version 2: for each tap a matrix product, big channels x pixels x small channels, of the
// shifted big plane's transpose and the small plane.
//
// Mapping: a block makes a tile of one tap's weights, summed over the pixels of one part;
// `sum_partials` adds the parts. Blocks of one part are adjacent, since they read the same pixels.
// A stage is DEPTH pixels. See strided_tile.cuh.
#include "strided_tile.cuh"

template <class T>
struct WgradOperands {
    using Left = Share<T, T::ROWS>;
    using Right = Share<T, T::COLUMNS>;

    const WgradParams &p;
    const int first_row;
    const int first_column;
    const int r;
    const int s;
    // The next stage: its first pixel, and where the small pixels of this thread's left quads lie.
    int index;
    const int end;
    int small_y[Left::COUNT];
    int small_x[Left::COUNT];
    float4 left[Left::COUNT];
    float4 right[Right::COUNT];

    __device__ WgradOperands(const WgradParams &p, int first_row, int first_column, int tap,
                             int start, int end)
        : p(p), first_row(first_row), first_column(first_column), r(tap / TAPS - p.pad_low),
          s(tap % TAPS - p.pad_low), index(start), end(end)
    {
#pragma unroll
        for (int item = 0; item < Left::COUNT; ++item) {
            const Pixel small = pixel_at(start + Left::value(item), p.side);
            small_y[item] = small.y;
            small_x[item] = small.x;
        }
    }

    __device__ void fetch()
    {
        const int big_side = 2 * p.side;
#pragma unroll
        for (int item = 0; item < Left::COUNT; ++item) {
            const int pixel = index + Left::value(item);
            const int sample = pixel - small_y[item] * p.side - small_x[item];
            const int y = 2 * small_y[item] + r;
            const int x = 2 * small_x[item] + s;
            const bool exists = pixel < end && !Left::idle(item);
            const bool meets = exists && inside(y, big_side) && inside(x, big_side);
            const int row = first_row + Left::across(item);
            const int at = (4 * sample + y * big_side + x) * p.c_big + row;
            left[item] = load4<T::VECTOR>(p.big + at, meets ? p.c_big - row : 0);
            advance(small_y[item], small_x[item]);
        }
#pragma unroll
        for (int item = 0; item < Right::COUNT; ++item) {
            const int from = index + Right::value(item);
            const int column = first_column + Right::across(item);
            const bool exists = from < end && !Right::idle(item);
            const float *small = p.small + (from * p.c_small + column);
            right[item] = load4<T::VECTOR>(small, exists ? p.c_small - column : 0);
        }
        index += DEPTH;
    }

    // DEPTH pixels on; a new sample begins with row 0 again.
    __device__ void advance(int &y, int &x)
    {
        x += DEPTH;
        while (x >= p.side) {
            x -= p.side;
            y = y + 1 == p.side ? 0 : y + 1;
        }
    }

    __device__ void store(typename T::Stage &stage)
    {
        Left::store(stage.left, left);
        Right::store(stage.right, right);
    }
};

template <class T>
__device__ __forceinline__ void wgrad(const WgradParams &p)
{
    const int column_tiles = (p.c_small + T::COLUMNS - 1) / T::COLUMNS;
    const int row_tiles = (p.c_big + T::ROWS - 1) / T::ROWS;
    const int first_column = blockIdx.x % column_tiles * T::COLUMNS;
    const int first_row = blockIdx.x / column_tiles % row_tiles * T::ROWS;
    const int tap = blockIdx.x / column_tiles / row_tiles % (TAPS * TAPS);
    const int part = blockIdx.x / column_tiles / row_tiles / (TAPS * TAPS);
    const int start = part * p.chunk;
    const int end = min(start + p.chunk, p.batch * p.side * p.side);

    WgradOperands<T> operands(p, first_row, first_column, tap, start, end);
    float sum[T::TR][T::TC] = {};
    T::accumulate(operands, (end - start + DEPTH - 1) / DEPTH, sum);

    const size_t place = static_cast<size_t>(part) * TAPS * TAPS + tap;
    float *partial = p.partial + place * p.c_big * p.c_small;
#pragma unroll
    for (int i = 0; i < T::TR; ++i) {
        const int row = first_row + T::row() + i / 4 * 16 + i % 4;
        if (row >= p.c_big) {
            continue;
        }
#pragma unroll
        for (int j = 0; j < T::TC; j += 4) {
            const int column = first_column + T::column() + 8 * j;
            const float values[4] = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
            T::write(partial + row * p.c_small, column, p.c_small, values);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 2) wgrad_v2_128x128(const WgradParams p)
{
    wgrad<Tile<128, 128, 8, 8, true>>(p);
}

extern "C" __global__ void __launch_bounds__(128, 3) wgrad_v2_64x128(const WgradParams p)
{
    wgrad<Tile<64, 128, 8, 8, true>>(p);
}

extern "C" __global__ void __launch_bounds__(128) wgrad_v2_64x32(const WgradParams p)
{
    wgrad<Tile<64, 32, 4, 4, true>>(p);
}

// Any channel counts and addresses.
extern "C" __global__ void __launch_bounds__(128) wgrad_v2_any(const WgradParams p)
{
    wgrad<Tile<64, 32, 4, 4, false>>(p);
}
