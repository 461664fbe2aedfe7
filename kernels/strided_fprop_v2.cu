// targets: sm_75
//
// fprop, version 2: an implicit matrix product, pixels x (taps, big channels) x small channels.
//
// Mapping: a block makes a tile of small pixels (of the whole batch) by small channels; blocks of
// one row of tiles are adjacent. A stage is DEPTH big channels of one tap. See strided_tile.cuh.
#include "strided_tile.cuh"

// Where the stages' factors come from: gathered windows and weights.
template <class T>
struct FpropOperands {
    using Left = Share<T, T::ROWS>;
    using Right = Share<T, T::COLUMNS>;

    const StridedParams &p;
    const int first_column;
    // The window of each of this thread's pixels: its first value, and where that lies.
    int origin[Left::COUNT];
    int y[Left::COUNT];
    int x[Left::COUNT];
    // The next stage.
    int r = 0;
    int s = 0;
    int channel = 0;
    float4 left[Left::COUNT];
    float4 right[Right::COUNT];

    __device__ FpropOperands(const StridedParams &p, int first_row, int first_column)
        : p(p), first_column(first_column)
    {
        const int big_side = 2 * p.side;
#pragma unroll
        for (int item = 0; item < Left::COUNT; ++item) {
            const int index = first_row + Left::row(item);
            const Pixel small = pixel_at(index, p.side);
            const bool exists = index < p.batch * p.side * p.side;
            y[item] = exists ? 2 * small.y - p.pad_low : -TAPS;
            x[item] = 2 * small.x - p.pad_low;
            origin[item] = ((small.n * big_side + y[item]) * big_side + x[item]) * p.c_big;
        }
    }

    __device__ void fetch()
    {
        const int big_side = 2 * p.side;
        const int offset = (r * big_side + s) * p.c_big + channel;
#pragma unroll
        for (int item = 0; item < Left::COUNT; ++item) {
            const bool meets = inside(y[item] + r, big_side) && inside(x[item] + s, big_side);
            const int depth = Left::depth(item);
            const float *from = p.input + (origin[item] + offset + depth);
            left[item] = load4<T::VECTOR>(from, meets ? p.c_big - channel - depth : 0);
        }
        const float *weights = p.weights + ((r * TAPS + s) * p.c_big + channel) * p.c_small;
#pragma unroll
        for (int item = 0; item < Right::COUNT; ++item) {
            const int column = first_column + Right::across(item);
            const bool exists = channel + Right::value(item) < p.c_big && !Right::idle(item);
            const float *from = weights + (Right::value(item) * p.c_small + column);
            right[item] = load4<T::VECTOR>(from, exists ? p.c_small - column : 0);
        }
        channel += DEPTH;
        if (channel >= p.c_big) {
            channel = 0;
            s = s + 1 == TAPS ? 0 : s + 1;
            r += s == 0;
        }
    }

    __device__ void store(typename T::Stage &stage)
    {
        Left::store_transposed(stage.left, left);
        Right::store(stage.right, right);
    }
};

template <class T>
__device__ __forceinline__ void fprop(const StridedParams &p)
{
    const int column_tiles = (p.c_small + T::COLUMNS - 1) / T::COLUMNS;
    const int first_row = blockIdx.x / column_tiles * T::ROWS;
    const int first_column = blockIdx.x % column_tiles * T::COLUMNS;
    const int pixels = p.batch * p.side * p.side;

    FpropOperands<T> operands(p, first_row, first_column);
    const int steps = TAPS * TAPS * ((p.c_big + DEPTH - 1) / DEPTH);
    T::run(p, operands, steps, first_column, p.c_small, [&](int row) -> float * {
        const int pixel = first_row + row;
        return pixel < pixels ? p.output + pixel * p.c_small : nullptr;
    });
}

extern "C" __global__ void __launch_bounds__(256, 2) fprop_v2_128x128(const StridedParams p)
{
    fprop<Tile<128, 128, 8, 8, true>>(p);
}

extern "C" __global__ void __launch_bounds__(128, 3) fprop_v2_128x64(const StridedParams p)
{
    fprop<Tile<128, 64, 8, 8, true>>(p);
}

extern "C" __global__ void __launch_bounds__(128) fprop_v2_64x32(const StridedParams p)
{
    fprop<Tile<64, 32, 4, 4, true>>(p);
}

// Any channel counts and addresses.
extern "C" __global__ void __launch_bounds__(128) fprop_v2_any(const StridedParams p)
{
    fprop<Tile<64, 32, 4, 4, false>>(p);
}
