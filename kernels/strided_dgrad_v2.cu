// targets: sm_75
//
// dgrad, version 2: four implicit matrix products, one for each parity of the big pixels, pixels x
// (taps of that parity, small channels) x big channels. No zero is inserted and none multiplied.
//
// In padded coordinates, big pixel y + pad_low = 2 i + parity meets small pixel i - e through tap
// parity + 2 e, with e < 3 for parity 0 and e < 2 for parity 1: so the taps of a parity do not
// depend on the padding.
//
// Mapping: a block makes a tile of one parity's big pixels (of the whole batch) by big channels;
// blocks of the parity with most taps come first. A stage is DEPTH small channels of one tap. Both
// factors lie along the summed index and are transposed on the way. See strided_tile.cuh.
#include "strided_tile.cuh"

// One dimension of a parity: S big pixels, of which the first has i = first.
struct Parity {
    int parity;
    int taps;
    int first;

    __device__ Parity(int parity, int pad_low)
        : parity(parity), taps(parity == 0 ? 3 : 2), first((pad_low - parity + 1) / 2)
    {
    }
};

template <class T>
struct DgradOperands {
    using Left = Share<T, T::ROWS>;
    using Right = Share<T, T::COLUMNS>;

    const StridedParams &p;
    const Parity vertical;
    const Parity horizontal;
    const int first_column;
    // i of this thread's pixels, and the first value of small pixel i.
    int origin[Left::COUNT];
    int y[Left::COUNT];
    int x[Left::COUNT];
    // The next stage.
    int ey = 0;
    int ex = 0;
    int channel = 0;
    float4 left[Left::COUNT];
    float4 right[Right::COUNT];

    __device__ DgradOperands(const StridedParams &p, Parity vertical, Parity horizontal,
                             int first_row, int first_column)
        : p(p), vertical(vertical), horizontal(horizontal), first_column(first_column)
    {
#pragma unroll
        for (int item = 0; item < Left::COUNT; ++item) {
            const int index = first_row + Left::row(item);
            const Pixel pixel = pixel_at(index, p.side);
            const bool exists = index < p.batch * p.side * p.side;
            y[item] = exists ? pixel.y + vertical.first : -1;
            x[item] = pixel.x + horizontal.first;
            origin[item] = ((pixel.n * p.side + y[item]) * p.side + x[item]) * p.c_small;
        }
    }

    __device__ void fetch()
    {
        const int offset = channel - (ey * p.side + ex) * p.c_small;
#pragma unroll
        for (int item = 0; item < Left::COUNT; ++item) {
            const bool meets = inside(y[item] - ey, p.side) && inside(x[item] - ex, p.side);
            const int depth = Left::depth(item);
            const float *from = p.input + (origin[item] + offset + depth);
            left[item] = load4<T::VECTOR>(from, meets ? p.c_small - channel - depth : 0);
        }
        const int tap = (vertical.parity + 2 * ey) * TAPS + horizontal.parity + 2 * ex;
        const float *weights = p.weights + (tap * p.c_big * p.c_small + channel);
#pragma unroll
        for (int item = 0; item < Right::COUNT; ++item) {
            const int column = first_column + Right::row(item);
            const int depth = Right::depth(item);
            const bool exists = column < p.c_big && !Right::idle(item);
            const float *from = weights + (column * p.c_small + depth);
            right[item] = load4<T::VECTOR>(from, exists ? p.c_small - channel - depth : 0);
        }
        channel += DEPTH;
        if (channel >= p.c_small) {
            channel = 0;
            ex = ex + 1 == horizontal.taps ? 0 : ex + 1;
            ey += ex == 0;
        }
    }

    __device__ void store(typename T::Stage &stage)
    {
        Left::store_transposed(stage.left, left);
        Right::store_transposed(stage.right, right);
    }
};

template <class T>
__device__ __forceinline__ void dgrad(const StridedParams &p)
{
    const int pixels = p.batch * p.side * p.side;
    const int column_tiles = (p.c_big + T::COLUMNS - 1) / T::COLUMNS;
    const int row_tiles = (pixels + T::ROWS - 1) / T::ROWS;
    const int first_column = blockIdx.x % column_tiles * T::COLUMNS;
    const int first_row = blockIdx.x / column_tiles % row_tiles * T::ROWS;
    const int parities = blockIdx.x / column_tiles / row_tiles;
    const Parity vertical(parities / 2, p.pad_low);
    const Parity horizontal(parities % 2, p.pad_low);

    DgradOperands<T> operands(p, vertical, horizontal, first_row, first_column);
    const int taps = vertical.taps * horizontal.taps;
    const int steps = taps * ((p.c_small + DEPTH - 1) / DEPTH);
    T::run(p, operands, steps, first_column, p.c_big, [&](int row) -> float * {
        if (first_row + row >= pixels) {
            return nullptr;
        }
        const Pixel pixel = pixel_at(first_row + row, p.side);
        const int y = 2 * (pixel.y + vertical.first) + vertical.parity - p.pad_low;
        const int x = 2 * (pixel.x + horizontal.first) + horizontal.parity - p.pad_low;
        return p.output + ((pixel.n * 2 * p.side + y) * 2 * p.side + x) * p.c_big;
    });
}

extern "C" __global__ void __launch_bounds__(256, 2) dgrad_v2_128x128(const StridedParams p)
{
    dgrad<Tile<128, 128, 8, 8, true>>(p);
}

extern "C" __global__ void __launch_bounds__(128, 3) dgrad_v2_128x64(const StridedParams p)
{
    dgrad<Tile<128, 64, 8, 8, true>>(p);
}

extern "C" __global__ void __launch_bounds__(128) dgrad_v2_64x32(const StridedParams p)
{
    dgrad<Tile<64, 32, 4, 4, true>>(p);
}

// Any channel counts and addresses.
extern "C" __global__ void __launch_bounds__(128) dgrad_v2_any(const StridedParams p)
{
    dgrad<Tile<64, 32, 4, 4, false>>(p);
}
