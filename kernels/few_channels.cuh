// What the kernels for 1 to 4 big channels share.
#pragma once

#include "strided.cuh"

// A rectangle of one sample's small plane.
struct PixelTile {
    int n;
    int y;
    int x;

    // Tile `index` of those of rows x columns pixels that cover planes of `side` pixels.
    __device__ PixelTile(int index, int side, int rows, int columns)
    {
        const int across = (side + columns - 1) / columns;
        const int down = (side + rows - 1) / rows;
        x = index % across * columns;
        y = index / across % down * rows;
        n = index / across / down;
    }
};

__device__ __forceinline__ bool aligned(const void *pointer)
{
    return reinterpret_cast<size_t>(pointer) % 16 == 0;
}

// 4 adjacent values, zero from place `count` on. `vectors`: the address is a multiple of 16 bytes,
// and `count` of 4.
__device__ __forceinline__ float4 load_quad(const float *from, int count, bool vectors)
{
    if (vectors) {
        return count > 0 ? *reinterpret_cast<const float4 *>(from) : make_float4(0, 0, 0, 0);
    }
    return make_float4(count > 0 ? from[0] : 0.0f, count > 1 ? from[1] : 0.0f,
                       count > 2 ? from[2] : 0.0f, count > 3 ? from[3] : 0.0f);
}

// As `load_quad`, to memory.
__device__ __forceinline__ void store_quad(float *to, int count, bool vectors,
                                           const float (&values)[4])
{
    if (vectors) {
        if (count > 0) {
            *reinterpret_cast<float4 *>(to) =
                make_float4(values[0], values[1], values[2], values[3]);
        }
        return;
    }
#pragma unroll
    for (int b = 0; b < 4; ++b) {
        if (b < count) {
            to[b] = values[b];
        }
    }
}

__device__ __forceinline__ void add_product(float (&sum)[4], float factor, float4 values)
{
    sum[0] = fmaf(factor, values.x, sum[0]);
    sum[1] = fmaf(factor, values.y, sum[1]);
    sum[2] = fmaf(factor, values.z, sum[2]);
    sum[3] = fmaf(factor, values.w, sum[3]);
}

// Channel `channel` of the big pixels that the tile of small pixels meets, zero outside the plane.
__device__ __forceinline__ void load_halo(float *halo, int rows, int columns, const float *big,
                                          const PixelTile &tile, int side, int c_big, int channel,
                                          int pad_low)
{
    const int big_side = 2 * side;
    for (int i = threadIdx.x; i < rows * columns; i += blockDim.x) {
        const int y = 2 * tile.y - pad_low + i / columns;
        const int x = 2 * tile.x - pad_low + i % columns;
        const int pixel = (tile.n * big_side + y) * big_side + x;
        const bool exists = inside(y, big_side) && inside(x, big_side);
        halo[i] = exists ? big[pixel * c_big + channel] : 0.0f;
    }
}
