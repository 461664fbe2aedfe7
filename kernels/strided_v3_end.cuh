// What fprop and dgrad of version 3 do with their sums: bias and activation, or the slope of the
// block below; rounding; statistics of what is stored, a part for each tile.
//
// The packing gives a lane 8 adjacent channels of a pixel: a store has 16 bytes a lane and 64 in a
// row. All pixels of a channel lie in one warp, so its statistics need no shared memory. Lane 4 g +
// t ends with those of channel 8 t + g of the warp's 32.
#pragma once

#include "strided_v3.cuh"

// A lane's pixels: g and g + 8 of each row of 16.
template <class K>
struct Pixels {
    int base[2];
    int stride;
    int rows[2];  // that exist
    int count;    // of the tile's pixels that exist

    __device__ Pixels(const HalfStridedParams &p, const Place &place, int vertical, int horizontal)
    {
        const int side = K::STEP_OUT * p.side;
        const int rows_here = min(K::ROWS, p.side - place.y);
        const int columns = 1 << p.columns;
        const int row = K::STEP_OUT * place.y + vertical;
        stride = K::STEP_OUT * side * p.c_out;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int pixel = threadIdx.x % 32 / 4 + 8 * half;
            const int image = pixel >> p.columns;
            const int x = place.x + pixel - (image << p.columns);
            const int column = K::STEP_OUT * x + horizontal;
            base[half] = (((place.sample + image) * side + row) * side + column) * p.c_out;
            rows[half] = image < place.samples && x < p.side ? rows_here : 0;
        }
        count = rows_here * min(columns, p.side - place.x) * min(16 >> p.columns, place.samples);
    }
};

// Sums over the 8 lanes of the same t; lane 4 g + t gets that of values[g].
__device__ __forceinline__ float scatter_sum(const float (&values)[8])
{
    float left[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const bool upper = threadIdx.x & 16;
        const float sent = upper ? values[i] : values[i + 4];
        left[i] = (upper ? values[i + 4] : values[i]) + __shfl_xor_sync(~0u, sent, 16);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const bool upper = threadIdx.x & 8;
        const float sent = upper ? left[i] : left[i + 2];
        left[i] = (upper ? left[i + 2] : left[i]) + __shfl_xor_sync(~0u, sent, 8);
    }
    const bool upper = threadIdx.x & 4;
    const float sent = upper ? left[0] : left[1];
    return (upper ? left[1] : left[0]) + __shfl_xor_sync(~0u, sent, 4);
}

// The opposite: values[g] is that of lane 4 g + t.
__device__ __forceinline__ void gather(float (&values)[8], float mine)
{
#pragma unroll
    for (int g = 0; g < 8; ++g) {
        values[g] = __shfl_sync(~0u, mine, 4 * g + threadIdx.x % 4);
    }
}

// Forward: mean and centred sum of squares. Backward: two sums.
struct Statistics {
    float first = 0;
    float second = 0;
    float count = 0;

    // Those of `other` values with them, after Chan et al. (1979).
    __device__ void merge(float mean, float squares, float other)
    {
        const float share = other / (count + other);
        const float difference = mean - first;
        first = fmaf(difference, share, first);
        second = fmaf(difference * difference, count * share, second + squares);
        count += other;
    }
};

template <class K>
class End {
    const HalfStridedParams &p;
    const Place &place;
    const int channel;  // the lane's first
    // Slope of negative values: after flatten, tanh is the identity.
    const float low;
    Statistics statistics;

    // relu and leaky relu; tanh is done before (flatten).
    __device__ float activated(float x) const
    {
        return x < 0.0f ? (p.activation == RELU ? 0.0f : low * x) : x;
    }

    // tanh, or its slope times the sum, for all sums. It would be most of the kernel if it were
    // written out for each of them, and no layer with many channels ends in it: the sums pass by in a
    // circle, four at a time.
    __device__ void flatten(Sums<K::ROWS> &sum, const Pixels<K> &pixels) const
    {
#pragma unroll 1
        for (int step = 0; step < 4 * K::ROWS; ++step) {
            const int m = step / 4;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int half = i / 2;
                const int c = channel + step % 4 * 2 + i % 2;
                float &x = sum[0][0][i];
                if (c >= p.c_out || m >= pixels.rows[half]) {
                    continue;
                }
                if (!p.backward) {
                    x = activate(TANH, x + (p.bias != nullptr ? p.bias[c] : 0.0f));
                    continue;
                }
                float y = widen(p.value[pixels.base[half] + m * pixels.stride + c]);
                if (p.saved != nullptr) {
                    const float *saved = p.saved + 2 * place.group * p.c_out + c;
                    const float xhat = (y - saved[0]) * saved[p.c_out];
                    y = activate(TANH, fmaf(p.affine[c], xhat, p.affine[p.c_out + c]));
                }
                x *= slope(TANH, y);
            }
            rotate(sum);
        }
    }

    static __device__ void rotate(Sums<K::ROWS> &sum)
    {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float first = sum[0][0][i];
#pragma unroll
            for (int at = 1; at < 4 * K::ROWS; ++at) {
                sum[(at - 1) / 4][(at - 1) % 4][i] = sum[at / 4][at % 4][i];
            }
            sum[K::ROWS - 1][3][i] = first;
        }
    }

    __device__ bool exists(int i) const
    {
        return channel + (K::ANY ? i : 0) < p.c_out;
    }

    // The lane's values of [c_out], or another one where there are none.
    __device__ void load_channels(float (&values)[8], const float *from, float other) const
    {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            values[i] = from != nullptr && exists(i) ? __ldg(from + channel + i) : other;
        }
    }

    __device__ uint4 load(const bf16 *from) const
    {
        if constexpr (K::ANY) {
            unsigned words[4] = {};
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                words[i / 2] |= exists(i) ? from[i].bits << 16 * (i % 2) : 0;
            }
            return make_uint4(words[0], words[1], words[2], words[3]);
        } else {
            return *reinterpret_cast<const uint4 *>(from);
        }
    }

    __device__ void store(bf16 *to, const unsigned (&words)[4]) const
    {
        if constexpr (K::ANY) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                if (exists(i)) {
                    to[i].bits = static_cast<unsigned short>(words[i / 2] >> 16 * (i % 2));
                }
            }
        } else {
            *reinterpret_cast<uint4 *>(to) = make_uint4(words[0], words[1], words[2], words[3]);
        }
    }

    __device__ void forward(Sums<K::ROWS> &sum, const Pixels<K> &pixels)
    {
        float bias[8];
        load_channels(bias, p.activation == TANH ? nullptr : p.bias, 0.0f);
#pragma unroll
        for (int m = 0; m < K::ROWS; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                unsigned words[4];
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    float &x = sum[m][n][2 * half];
                    float &y = sum[m][n][2 * half + 1];
                    words[n] = narrow2(activated(x + bias[2 * n]), activated(y + bias[2 * n + 1]));
                    x = widen_low(words[n]);
                    y = widen_high(words[n]);
                }
                if (m < pixels.rows[half] && exists(0)) {
                    store(p.output + (pixels.base[half] + m * pixels.stride + channel), words);
                }
            }
        }
        if (p.sums != nullptr) {
            moments(sum, pixels);
        }
    }

    __device__ void moments(Sums<K::ROWS> &sum, const Pixels<K> &pixels)
    {
        float totals[8] = {};
#pragma unroll
        for (int m = 0; m < K::ROWS; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const bool exists = m < pixels.rows[half];
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    totals[i] += exists ? sum[m][i / 2][2 * half + i % 2] : 0.0f;
                }
            }
        }
        const float count = static_cast<float>(pixels.count);
        const float mean = scatter_sum(totals) / count;
        float means[8];
        gather(means, mean);
        float squares[8] = {};
#pragma unroll
        for (int m = 0; m < K::ROWS; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const bool exists = m < pixels.rows[half];
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    const float x = exists ? sum[m][i / 2][2 * half + i % 2] - means[i] : 0.0f;
                    squares[i] = fmaf(x, x, squares[i]);
                }
            }
        }
        statistics.merge(mean, scatter_sum(squares), count);
    }

    __device__ void backward(Sums<K::ROWS> &sum, const Pixels<K> &pixels)
    {
        // Without a batch norm, the value is what the slope is taken of.
        const bool norm = p.saved != nullptr;
        const float *saved = norm ? p.saved + 2 * place.group * p.c_out : nullptr;
        float mean[8];
        float scale[8];
        float gamma[8];
        float beta[8];
        load_channels(mean, saved, 0.0f);
        load_channels(scale, norm ? saved + p.c_out : nullptr, 1.0f);
        load_channels(gamma, p.affine, 1.0f);
        load_channels(beta, norm ? p.affine + p.c_out : nullptr, 0.0f);
        float totals[8] = {};
        float products[8] = {};
#pragma unroll
        for (int m = 0; m < K::ROWS; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                if (m >= pixels.rows[half] || !exists(0)) {
                    continue;
                }
                const int offset = pixels.base[half] + m * pixels.stride + channel;
                const uint4 value = load(p.value + offset);
                const unsigned values[4] = {value.x, value.y, value.z, value.w};
                unsigned words[4];
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    float xhat[2] = {widen_low(values[n]), widen_high(values[n])};
                    float g[2];
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const int c = 2 * n + i;
                        xhat[i] = (xhat[i] - mean[c]) * scale[c];
                        const float y = fmaf(gamma[c], xhat[i], beta[c]);
                        const float x = sum[m][n][2 * half + i];
                        g[i] = y > 0.0f ? x : low * x;
                    }
                    words[n] = narrow2(g[0], g[1]);
                    g[0] = widen_low(words[n]);
                    g[1] = widen_high(words[n]);
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const int c = 2 * n + i;
                        totals[c] += g[i];
                        products[c] = fmaf(g[i], xhat[i], products[c]);
                    }
                }
                store(p.output + offset, words);
            }
        }
        statistics.first += scatter_sum(totals);
        statistics.second += norm ? scatter_sum(products) : 0.0f;
    }

  public:
    __device__ End(const HalfStridedParams &p, const Place &place)
        : p(p), place(place),
          channel(place.channel + threadIdx.x / 32 * WIDTH + threadIdx.x % 4 * 8),
          low(p.activation == RELU         ? 0.0f
              : p.activation == LEAKY_RELU ? 0.2f
                                           : 1.0f)
    {
    }

    // Stores what the sums come to.
    __device__ void finish(Sums<K::ROWS> &sum, const Pixels<K> &pixels)
    {
        if (p.activation == TANH) {
            flatten(sum, pixels);
        }
        if (!p.backward) {
            forward(sum, pixels);
        } else {
            backward(sum, pixels);
        }
    }

    // Stores the tile's statistics, if they are wanted.
    __device__ void store_statistics() const
    {
        if (p.sums == nullptr) {
            return;
        }
        const int part = place.group * place.parts + place.part;
        const int mine = channel + threadIdx.x % 32 / 4;
        if (mine < p.c_out) {
            p.sums[2 * part * p.c_out + mine] = statistics.first;
            p.sums[(2 * part + 1) * p.c_out + mine] = statistics.second;
        }
        if (!p.backward && place.channel == 0 && threadIdx.x == 0) {
            p.sums[2 * p.groups * place.parts * p.c_out + part] = statistics.count;
        }
    }
};
