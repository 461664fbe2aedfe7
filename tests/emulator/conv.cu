// 5x5 convolution of stride 2 as an implicit GEMM on tensor cores, NHWC:
// y[n][oy][ox][co] = sum over r, s, ci of x[n][2 oy + r - pad_low][2 ox + s - pad_low][ci] w[r][s][ci][co].
// Mapping: a block of four warps makes 64 pixels x 32 output channels, each warp 16 x 32; a step of
// the reduction is one tap and 16 input channels; three stages of shared memory.
// Tests: cp.async with zero-fill at borders and ragged channels, ldmatrix, ldmatrix.trans,
// mma.sync.m16n8k16 with f32 accumulation, waits that leave one group under way.
// targets: sm_80 sm_90a

#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T>
struct ConvArguments {
    const T* x;  // [n][height][width][x_pitch], channels beyond `in` are never read
    const T* w;  // [5][5][in][w_pitch]
    float* y;    // [n][(height + 1) / 2][(width + 1) / 2][out]
    int n, height, width, in, x_pitch, out, w_pitch, pad_low;
};

constexpr int PIXELS = 64, CHANNELS = 32, DEPTH = 16, STAGES = 3;
// Eight values of padding keep ldmatrix free of bank conflicts.
constexpr int X_PITCH = DEPTH + 8, W_PITCH = CHANNELS + 8;

__device__ unsigned shared_address(const void* p) { return unsigned(__cvta_generic_to_shared(p)); }

// Copies the first `values` of eight two-byte values and fills the rest with zeros.
__device__ void copy8(void* to, const void* from, int values) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(2 * values));
}

__device__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __nv_bfloat16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __half) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <typename T>
__device__ void convolve(const ConvArguments<T>& p) {
    __shared__ __align__(16) T x_tile[STAGES][PIXELS][X_PITCH];
    __shared__ __align__(16) T w_tile[STAGES][DEPTH][W_PITCH];
    int t = threadIdx.x, warp = t / 32, lane = t % 32;
    int out_height = (p.height + 1) / 2, out_width = (p.width + 1) / 2;
    int pixels = p.n * out_height * out_width;
    int pixel0 = blockIdx.x * PIXELS, channel0 = blockIdx.y * CHANNELS;

    // This thread copies half a row of x_tile, always of the same pixel.
    int x_row = t / 2, x_column = t % 2 * 8;
    int pixel = pixel0 + x_row;
    int image = pixel / (out_height * out_width);
    int left = pixel % out_width * 2 - p.pad_low;
    int top = pixel / out_width % out_height * 2 - p.pad_low;

    int slices = (p.in + DEPTH - 1) / DEPTH, steps = 25 * slices;
    auto load = [&](int step) {
        int stage = step % STAGES, tap = step / slices, channel = step % slices * DEPTH;
        int row = top + tap / 5, column = left + tap % 5;
        int values = min(max(p.in - channel - x_column, 0), 8);
        if (pixel >= pixels || row < 0 || row >= p.height || column < 0 || column >= p.width) values = 0;
        const T* from = p.x + ((size_t(image) * p.height + row) * p.width + column) * p.x_pitch + channel +
                        x_column;
        copy8(&x_tile[stage][x_row][x_column], values > 0 ? from : p.x, values);
        if (t < DEPTH * CHANNELS / 8) {
            int w_row = t / 4, w_column = t % 4 * 8;
            values = channel + w_row < p.in ? min(max(p.out - channel0 - w_column, 0), 8) : 0;
            from = p.w + (size_t(tap) * p.in + channel + w_row) * p.w_pitch + channel0 + w_column;
            copy8(&w_tile[stage][w_row][w_column], values > 0 ? from : p.w, values);
        }
    };

    float sum[CHANNELS / 8][4] = {};
    for (int step = 0; step < STAGES - 1; ++step) {
        load(step);
        asm volatile("cp.async.commit_group;");
    }
    for (int step = 0; step < steps; ++step) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        __syncthreads();
        int stage = step % STAGES;
        unsigned a[4];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                     : "r"(shared_address(&x_tile[stage][warp * 16 + lane % 16][lane / 16 * 8]))
                     : "memory");
        for (int j = 0; j < CHANNELS / 8; ++j) {
            unsigned b[2];
            asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                         : "=r"(b[0]), "=r"(b[1])
                         : "r"(shared_address(&w_tile[stage][lane % 16][j * 8]))
                         : "memory");
            mma(sum[j], a, b, T());
        }
        // The barrier of this step says that all warps are done with the stage of the last one.
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        asm volatile("cp.async.commit_group;");
    }
    for (int j = 0; j < CHANNELS / 8; ++j)
        for (int i = 0; i < 4; ++i) {
            int to = pixel0 + warp * 16 + lane / 4 + i / 2 * 8;
            int channel = channel0 + j * 8 + lane % 4 * 2 + i % 2;
            if (to < pixels && channel < p.out) p.y[size_t(to) * p.out + channel] = sum[j][i];
        }
}

extern "C" __global__ void __launch_bounds__(128) conv_bf16(const ConvArguments<__nv_bfloat16> p) {
    convolve(p);
}

extern "C" __global__ void __launch_bounds__(128) conv_f16(const ConvArguments<__half> p) {
    convolve(p);
}
