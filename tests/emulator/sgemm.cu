// C[M][N] = A[M][K] B[K][N] in f32, row-major, any sizes.
// Mapping: a block of 16 x 16 threads makes a 64 x 64 tile, each thread 4 x 4 values 16 apart; K goes
// through shared memory 16 at a time.
// Tests: shared-memory tiles between two barriers, registers in arrays, unrolled fma chains. Every
// value is one chain of fma in the order of k, so that a scalar loop gives the same bits.
// targets: sm_75 sm_80 sm_90a

constexpr int TILE = 64, DEPTH = 16, EACH = 4, SIDE = 16;

extern "C" __global__ void __launch_bounds__(256)
    sgemm(int m, int n, int k, const float* __restrict__ a, const float* __restrict__ b,
          float* __restrict__ c) {
    __shared__ float a_tile[DEPTH][TILE];
    __shared__ float b_tile[DEPTH][TILE];
    int row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE;
    int thread = threadIdx.y * SIDE + threadIdx.x;
    float sum[EACH][EACH] = {};
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        for (int i = thread; i < TILE * DEPTH; i += SIDE * SIDE) {
            int row = row0 + i / DEPTH, kk = k0 + i % DEPTH;
            a_tile[i % DEPTH][i / DEPTH] = row < m && kk < k ? a[size_t(row) * k + kk] : 0.0f;
        }
        for (int i = thread; i < TILE * DEPTH; i += SIDE * SIDE) {
            int kk = k0 + i / TILE, column = column0 + i % TILE;
            b_tile[i / TILE][i % TILE] = kk < k && column < n ? b[size_t(kk) * n + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < DEPTH; ++kk) {
            float u[EACH], v[EACH];
            for (int i = 0; i < EACH; ++i) u[i] = a_tile[kk][threadIdx.y + SIDE * i];
            for (int j = 0; j < EACH; ++j) v[j] = b_tile[kk][threadIdx.x + SIDE * j];
            for (int i = 0; i < EACH; ++i)
                for (int j = 0; j < EACH; ++j) sum[i][j] = fmaf(u[i], v[j], sum[i][j]);
        }
        __syncthreads();
    }
    for (int i = 0; i < EACH; ++i)
        for (int j = 0; j < EACH; ++j) {
            int row = row0 + threadIdx.y + SIDE * i, column = column0 + threadIdx.x + SIDE * j;
            if (row < m && column < n) c[size_t(row) * n + column] = sum[i][j];
        }
}
