// targets: sm_75
//
// The second pass of a long sum: adds partial sums in an order that shapes alone fix, in f64.
//
// Mapping: column threadIdx.x of a block is one output, row threadIdx.y adds the parts y,
// y + rows, ...; the first row adds up the rows. Few parts take one row of 256, many take 16 rows
// of 32 (a warp reads 128 adjacent bytes of a part). Shared memory: 4 KiB.

struct SumPartialsParams {
    const float *partial;  // [parts, len]
    float *output;         // [len]
    int len;
    int parts;
    int accumulate;  // adds to the output instead of setting it
    int unused;
};

constexpr int MOST_ROWS = 16;
constexpr int COLUMNS = 32;

extern "C" __global__ void __launch_bounds__(512) sum_partials(const SumPartialsParams p)
{
    __shared__ double sums[MOST_ROWS][COLUMNS];
    const unsigned index = blockIdx.x * blockDim.x + threadIdx.x;
    const bool wanted = index < static_cast<unsigned>(p.len);

    double sum = 0.0;
    if (wanted) {
#pragma unroll 4
        for (int part = threadIdx.y; part < p.parts; part += blockDim.y) {
            sum += p.partial[static_cast<size_t>(part) * p.len + index];
        }
    }
    if (blockDim.y > 1) {
        sums[threadIdx.y][threadIdx.x] = sum;
        __syncthreads();
        for (int row = 1; threadIdx.y == 0 && row < blockDim.y; ++row) {
            sum += sums[row][threadIdx.x];
        }
    }
    if (wanted && threadIdx.y == 0) {
        const double before = p.accumulate ? p.output[index] : 0.0;
        p.output[index] = static_cast<float>(before + sum);
    }
}
