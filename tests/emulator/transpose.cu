// y[columns][rows] = x[rows][columns] transposed.
// Mapping: a block of 32 x 8 threads moves a 32 x 32 tile through shared memory.
// Tests: shared memory with 32-way bank conflicts and, padded by one column, with none; a barrier
// between rows written and columns read.
// targets: sm_80 sm_90a

template <int WIDTH>
__device__ void transpose_tile(int rows, int columns, const unsigned* __restrict__ x,
                               unsigned* __restrict__ y) {
    __shared__ unsigned tile[32][WIDTH];
    int row = blockIdx.y * 32, column = blockIdx.x * 32;
    for (int j = threadIdx.y; j < 32; j += 8)
        if (row + j < rows && column + threadIdx.x < columns)
            tile[j][threadIdx.x] = x[size_t(row + j) * columns + column + threadIdx.x];
    __syncthreads();
    for (int j = threadIdx.y; j < 32; j += 8)
        if (column + j < columns && row + threadIdx.x < rows)
            y[size_t(column + j) * rows + row + threadIdx.x] = tile[threadIdx.x][j];
}

extern "C" __global__ void transpose_conflicts(int rows, int columns, const unsigned* __restrict__ x,
                                               unsigned* __restrict__ y) {
    transpose_tile<32>(rows, columns, x, y);
}

extern "C" __global__ void transpose_padded(int rows, int columns, const unsigned* __restrict__ x,
                                            unsigned* __restrict__ y) {
    transpose_tile<33>(rows, columns, x, y);
}
