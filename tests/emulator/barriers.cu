// Barriers other than __syncthreads.
// Mapping: see each kernel.
// Tests: named barriers with bar.sync and bar.arrive between producing and consuming warps, barriers
// of a part of the block, barriers that count and vote.
// targets: sm_75 sm_80 sm_90a

__device__ void sync(int barrier, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

__device__ void arrive(int barrier, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// 128 threads: warps 0 and 1 square the values of a chunk of 64 into one of two buffers, warps 2 and
// 3 add to each its right neighbour. Barriers 1 and 2: full; 3 and 4: free.
extern "C" __global__ void __launch_bounds__(128)
    producer_consumer(int chunks, const int* __restrict__ x, int* __restrict__ y) {
    __shared__ int buffer[2][64];
    int t = threadIdx.x % 64;
    x += size_t(blockIdx.x) * chunks * 64;
    y += size_t(blockIdx.x) * chunks * 64;
    if (threadIdx.x < 64) {
        for (int c = 0; c < chunks; ++c) {
            int side = c % 2;
            if (c >= 2) sync(3 + side, 128);
            buffer[side][t] = x[c * 64 + t] * x[c * 64 + t];
            __threadfence_block();
            arrive(1 + side, 128);
        }
    } else {
        for (int c = 0; c < chunks; ++c) {
            int side = c % 2;
            sync(1 + side, 128);
            y[c * 64 + t] = buffer[side][t] + buffer[side][(t + 1) % 64];
            if (c + 2 < chunks) arrive(3 + side, 128);
        }
    }
}

// Every group of 64 threads turns its 64 values round, group g behind barrier g + 1.
extern "C" __global__ void reversed_groups(const int* __restrict__ x, int* __restrict__ y) {
    __shared__ int line[512];
    int group = threadIdx.x / 64, t = threadIdx.x % 64, i = blockIdx.x * blockDim.x + threadIdx.x;
    line[threadIdx.x] = x[i];
    sync(group + 1, 64);
    y[i] = line[group * 64 + 63 - t];
}

// out[block][0..3]: how many values are positive, whether all, whether any.
extern "C" __global__ void voting_barriers(int n, const int* __restrict__ x, int* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    bool positive = i < n && x[i] > 0;
    int count = __syncthreads_count(positive);
    int all = __syncthreads_and(positive);
    int any = __syncthreads_or(positive);
    if (threadIdx.x == 0) {
        out[3 * blockIdx.x] = count;
        out[3 * blockIdx.x + 1] = all != 0;
        out[3 * blockIdx.x + 2] = any != 0;
    }
}
