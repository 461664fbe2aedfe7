// A tile of a matrix product: what fprop, dgrad and wgrad have in common in version 2.
//
// A block makes ROWS x COLUMNS outputs. It walks along the summed index in stages of DEPTH values:
// while one stage is multiplied out of shared memory, the next is fetched into registers, and then
// stored into the other buffer; one barrier a stage. A thread makes TR x TC outputs, in pieces of
// 4 x 4; a warp is 4 x 8 threads, so that its 16-byte reads of a row of the left factor touch 64
// adjacent bytes and those of the right factor 128: no bank conflicts.
//
// Each output is a chain of fused multiply-adds along the summed index, broken at the same places
// whatever the tile's size: all tiles give the same bits.
#pragma once

#include "strided.cuh"

constexpr int DEPTH = 8;

// Stages of one chain: 1280 terms.
constexpr int LONGEST = 160;

// 4 more values a row shift the two halves of a transposed stage to different banks.
template <int EXTENT>
struct Factor {
    float values[DEPTH][EXTENT + 4];
};

// 4 adjacent values, zero from place `count` on.
template <bool VECTOR>
__device__ __forceinline__ float4 load4(const float *from, int count)
{
    if constexpr (VECTOR) {
        return count > 0 ? *reinterpret_cast<const float4 *>(from) : make_float4(0, 0, 0, 0);
    } else {
        return make_float4(count > 0 ? from[0] : 0.0f, count > 1 ? from[1] : 0.0f,
                           count > 2 ? from[2] : 0.0f, count > 3 ? from[3] : 0.0f);
    }
}

template <int ROWS_, int COLUMNS_, int TR_, int TC_, bool VECTOR_>
struct Tile {
    static constexpr int ROWS = ROWS_;
    static constexpr int COLUMNS = COLUMNS_;
    static constexpr int TR = TR_;
    static constexpr int TC = TC_;
    // Whether channels are multiples of 4 and tensors lie at multiples of 16 bytes.
    static constexpr bool VECTOR = VECTOR_;
    static constexpr int THREADS = ROWS / TR * (COLUMNS / TC);

    struct Stage {
        Factor<ROWS> left;
        Factor<COLUMNS> right;
    };

    // First row and column of the thread's outputs; those of piece (i, j) are 16 i and 32 j on.
    static __device__ int row()
    {
        const int warp = threadIdx.x / 32 / (COLUMNS / (8 * TC));
        return warp * 4 * TR + threadIdx.x % 32 / 8 * 4;
    }

    static __device__ int column()
    {
        const int warp = threadIdx.x / 32 % (COLUMNS / (8 * TC));
        return warp * 8 * TC + threadIdx.x % 8 * 4;
    }

    static __device__ void multiply(const Stage &stage, float (&sum)[TR][TC])
    {
        const int row = Tile::row();
        const int column = Tile::column();
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            float left[TR];
            float right[TC];
#pragma unroll
            for (int i = 0; i < TR; i += 4) {
                const float *from = &stage.left.values[k][row + 4 * i];
                *reinterpret_cast<float4 *>(left + i) = *reinterpret_cast<const float4 *>(from);
            }
#pragma unroll
            for (int j = 0; j < TC; j += 4) {
                const float *from = &stage.right.values[k][column + 8 * j];
                *reinterpret_cast<float4 *>(right + j) = *reinterpret_cast<const float4 *>(from);
            }
#pragma unroll
            for (int i = 0; i < TR; ++i) {
#pragma unroll
                for (int j = 0; j < TC; ++j) {
                    sum[i][j] = fmaf(left[i], right[j], sum[i][j]);
                }
            }
        }
    }

    // The sum over `steps` stages, which `operands` fetches and stores one after the other.
    template <class Operands>
    static __device__ void accumulate(Operands &operands, int steps, float (&sum)[TR][TC])
    {
        __shared__ Stage stages[2];
        operands.fetch();
        operands.store(stages[0]);
        __syncthreads();
        for (int step = 0; step < steps; ++step) {
            const bool more = step + 1 < steps;
            if (more) {
                operands.fetch();
            }
            multiply(stages[step % 2], sum);
            if (more) {
                operands.store(stages[(step + 1) % 2]);
            }
            __syncthreads();
        }
    }

    // `values` to columns `column` .. `column + 4` of a row of `columns` values.
    static __device__ void write(float *row, int column, int columns, const float (&values)[4])
    {
        if constexpr (VECTOR) {
            if (column < columns) {
                *reinterpret_cast<float4 *>(row + column) =
                    make_float4(values[0], values[1], values[2], values[3]);
            }
        } else {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if (column + j < columns) {
                    row[column + j] = values[j];
                }
            }
        }
    }

    // The sum over `steps` stages, then activation(sum + bias) to the rows that `place(row)` gives,
    // or gives null for. After every LONGEST stages the sum is put aside, in the output itself: one
    // long chain in f32 would lose more than a few shorter ones.
    template <class Operands, class Place>
    static __device__ void run(const StridedParams &p, Operands &operands, int steps,
                               int first_column, int columns, Place place)
    {
        for (int done = 0; done < steps; done += LONGEST) {
            const int count = min(LONGEST, steps - done);
            float sum[TR][TC] = {};
            accumulate(operands, count, sum);
            finish(p, sum, done > 0, done + count == steps, first_column, columns, place);
        }
        if (p.activation == TANH) {
            flatten(first_column, columns, place);
        }
    }

    // The sum, and what was put aside before if `later`; with bias and activation if `last`.
    template <class Place>
    static __device__ void finish(const StridedParams &p, const float (&sum)[TR][TC], bool later,
                                  bool last, int first_column, int columns, Place place)
    {
        // Opaque, so that the rows' addresses are not kept in registers while stages are summed.
        int first = Tile::row();
        asm volatile("" : "+r"(first));
        float bias[TC];
#pragma unroll
        for (int j = 0; j < TC; ++j) {
            const int column = first_column + Tile::column() + j / 4 * 32 + j % 4;
            bias[j] = last && p.bias != nullptr && column < columns ? p.bias[column] : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < TR; ++i) {
            float *row = place(first + i / 4 * 16 + i % 4);
            if (row == nullptr) {
                continue;
            }
#pragma unroll
            for (int j = 0; j < TC; j += 4) {
                const int column = first_column + Tile::column() + 8 * j;
                const float4 aside =
                    load4<VECTOR>(row + column, later ? columns - column : 0);
                const float before[4] = {aside.x, aside.y, aside.z, aside.w};
                float values[4];
#pragma unroll
                for (int b = 0; b < 4; ++b) {
                    values[b] = rectify(last ? p.activation : IDENTITY,
                                        before[b] + sum[i][j + b] + bias[j + b]);
                }
                write(row, column, columns, values);
            }
        }
    }

    static __device__ float rectify(int activation, float x)
    {
        return activation == RELU         ? activate(RELU, x)
               : activation == LEAKY_RELU ? activate(LEAKY_RELU, x)
                                          : x;
    }

    // tanh of what this thread has written. It would be most of the kernel if it were inlined for
    // each output, and no layer with many channels on either side ends in it.
    template <class Place>
    static __device__ void flatten(int first_column, int columns, Place place)
    {
#pragma unroll 1
        for (int output = 0; output < TR * TC; ++output) {
            const int i = output / TC;
            const int j = output % TC;
            float *row = place(Tile::row() + i / 4 * 16 + i % 4);
            const int column = first_column + Tile::column() + j / 4 * 32 + j % 4;
            if (row != nullptr && column < columns) {
                row[column] = activate(TANH, row[column]);
            }
        }
    }
};

// A thread's share of the stages of a factor of EXTENT rows (or columns) by DEPTH values.
template <class T, int EXTENT>
struct Share {
    static constexpr int QUADS = EXTENT * DEPTH / 4;
    static constexpr int COUNT = (QUADS + T::THREADS - 1) / T::THREADS;

    // Where the tile has more threads than the factor has quads.
    static __device__ bool idle(int item)
    {
        return QUADS % T::THREADS != 0 && quad(item) >= QUADS;
    }

    static __device__ int quad(int item)
    {
        return threadIdx.x + item * T::THREADS;
    }

    // Quads along the summed index: DEPTH / 4 for each row; they are stored transposed.
    static __device__ int row(int item)
    {
        return quad(item) / (DEPTH / 4);
    }

    static __device__ int depth(int item)
    {
        return quad(item) % (DEPTH / 4) * 4;
    }

    static __device__ void store_transposed(Factor<EXTENT> &factor, const float4 (&quads)[COUNT])
    {
#pragma unroll
        for (int item = 0; item < COUNT; ++item) {
            if (!idle(item)) {
                factor.values[depth(item)][row(item)] = quads[item].x;
                factor.values[depth(item) + 1][row(item)] = quads[item].y;
                factor.values[depth(item) + 2][row(item)] = quads[item].z;
                factor.values[depth(item) + 3][row(item)] = quads[item].w;
            }
        }
    }

    // Quads across the summed index: EXTENT / 4 for each of its values.
    static __device__ int value(int item)
    {
        return quad(item) / (EXTENT / 4);
    }

    static __device__ int across(int item)
    {
        return quad(item) % (EXTENT / 4) * 4;
    }

    static __device__ void store(Factor<EXTENT> &factor, const float4 (&quads)[COUNT])
    {
#pragma unroll
        for (int item = 0; item < COUNT; ++item) {
            if (!idle(item)) {
                *reinterpret_cast<float4 *>(&factor.values[value(item)][across(item)]) =
                    quads[item];
            }
        }
    }
};
