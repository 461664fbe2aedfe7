// targets: sm_80
//
// The gradient of the input of a dense layer with one output, and of the block below it, in mixed
// precision: dx = dy w^T is made on the way and never stored; g = dx slope is, in bf16, and the sums
// of g and g xhat of parts of the rows, which half_sums_merge adds. What dense_single, a pass for the
// slope and one for the sums do in f32, in one.
//
// Mapping: a thread takes W adjacent features (8 where rows are whole 16 bytes, else 1) of one
// position, with w in registers, in `chunk` samples of a group. A block of 256 threads is `lanes` wide
// (a power of two up to 32), 256 / lanes positions high. blockIdx.x is the part: its block of
// positions, then its chunk of samples; blockIdx.y is the tile of features, blockIdx.z the group.
// Memory-bound: 4 bytes a value. Shared memory of the sums: 16 KiB (x8), 2 KiB (x1).

#include "half_below.cuh"

struct HalfSingleInputParams {
    const float *dy;       // [groups, samples]
    const float *weights;  // [positions, features]
    const bf16 *value;     // the linear output where there is a batch norm, else the output
    const float *saved;    // [groups, 2, features]: mean, scale
    const float *affine;   // [2, features]: gamma, beta
    bf16 *g;               // [groups, samples, positions, features]
    float *sums;           // [groups, parts, 2, features]; may be null
    int samples;           // of a group
    int positions;
    int features;
    int chunk;   // samples of a part
    int chunks;  // of a group's samples
    int activation;
};

template <int W, bool NORM>
__device__ __forceinline__ void input_gradient(const HalfSingleInputParams &p)
{
    constexpr int ROWS = 4;
    const int feature = (blockIdx.y * blockDim.x + threadIdx.x) * W;
    const int position = blockIdx.x / p.chunks * blockDim.y + threadIdx.y;
    const int start = blockIdx.x % p.chunks * p.chunk;
    const bool inside = feature < p.features;
    const bool wanted = inside && position < p.positions;
    const int end = wanted ? min(start + p.chunk, p.samples) : 0;
    Below<W, NORM> below;
    Vector<W> w = {};
    if (wanted) {
        below.read(p.saved + 2 * blockIdx.z * p.features + feature, p.affine + feature,
                   p.features);
        w = load_once<W>(p.weights + position * p.features + feature);
    }
    const int pitch = p.positions * p.features;
    const int own = blockIdx.z * p.samples * pitch + position * p.features + feature;
    const float *dy = p.dy + blockIdx.z * p.samples;
    for_activation(p.activation, [&](auto activation) {
        for (int first = start; first < end; first += ROWS) {
            Packed<bf16, W> value[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                if (first + r < end) {
                    value[r] = load_packed<W>(p.value + own + (first + r) * pitch);
                }
            }
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                if (first + r < end) {
                    const float by = dy[first + r];
                    Vector<W> dx;
#pragma unroll
                    for (int i = 0; i < W; ++i) {
                        dx.v[i] = by * w.v[i];
                    }
                    const Vector<W> g = below.template gradient<decltype(activation)::value>(
                        dx, value[r].values());
                    store(p.g + own + (first + r) * pitch, g);
                }
            }
        }
    });
    if (p.sums != nullptr) {
        const int part = blockIdx.z * gridDim.x + blockIdx.x;
        below.store_sums(p.sums + 2 * part * p.features + feature, p.features, inside);
    }
}

#define KERNEL(name, width, norm)                                                                 \
    extern "C" __global__ void __launch_bounds__(COLUMN_THREADS, HALF_BLOCKS)                     \
        half_single_input_gradient_##name(const HalfSingleInputParams p)                          \
    {                                                                                             \
        input_gradient<width, norm>(p);                                                           \
    }

KERNEL(x1, 1, false)
KERNEL(x8, 8, false)
KERNEL(normed_x1, 1, true)
KERNEL(normed_x8, 8, true)
