// Sums and extrema of a vector.
// Mapping: one thread an element; what a block finds goes to partial[blockIdx.x] or to one word.
// Tests: shuffles, shared trees, dynamic shared memory, __syncwarp, float and integer atomics, the
// fence and the ticket that let the last block add up what the others wrote.
// targets: sm_75 sm_80 sm_90a

constexpr unsigned ALL = 0xffffffffu;

__device__ float warp_sum(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(ALL, value, offset);
    return value;
}

// The sum over the block, in thread 0 only. blockDim.x is a multiple of 32.
__device__ float block_sum(float value) {
    __shared__ float sums[32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    value = warp_sum(value);
    if (lane == 0) sums[warp] = value;
    __syncthreads();
    if (warp != 0) return 0.0f;
    return warp_sum(lane < blockDim.x / 32 ? sums[lane] : 0.0f);
}

extern "C" __global__ void sum_shuffle(int n, const float* __restrict__ x, float* __restrict__ partial) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = block_sum(i < n ? x[i] : 0.0f);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Dynamic shared memory of blockDim.x floats; the last 32 exchange with __syncwarp only.
extern "C" __global__ void sum_tree(int n, const float* __restrict__ x, float* __restrict__ partial) {
    extern __shared__ float tree[];
    int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
    tree[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int half = blockDim.x / 2; half >= 32; half /= 2) {
        if (t < half) tree[t] += tree[t + half];
        __syncthreads();
    }
    if (t < 32) {
        for (int half = 16; half > 0; half /= 2) {
            float other = tree[(t + half) % 32];
            __syncwarp();
            tree[t] += other;
            __syncwarp();
        }
        if (t == 0) partial[blockIdx.x] = tree[0];
    }
}

extern "C" __global__ void sum_atomic_float(int n, const float* __restrict__ x, float* sum) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(sum, x[i]);
}

extern "C" __global__ void sum_atomic_double(int n, const double* __restrict__ x, double* sum) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(sum, x[i]);
}

// Sum, minimum, maximum, or, and, exclusive or.
extern "C" __global__ void extrema_atomic_int(int n, const int* __restrict__ x, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    atomicAdd(out, x[i]);
    atomicMin(out + 1, x[i]);
    atomicMax(out + 2, x[i]);
    atomicOr(out + 3, x[i]);
    atomicAnd(out + 4, x[i]);
    atomicXor(out + 5, x[i]);
}

// The block that draws the last ticket adds up all partial sums; the ticket goes back to zero.
extern "C" __global__ void sum_last_block(int n, const float* __restrict__ x, float* partial,
                                          unsigned* ticket, float* sum) {
    __shared__ bool last;
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float mine = block_sum(i < n ? x[i] : 0.0f);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = mine;
        __threadfence();
        last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last || threadIdx.x != 0) return;
    __threadfence();
    float all = 0.0f;
    for (unsigned b = 0; b < gridDim.x; ++b) all += partial[b];
    *sum = all;
}

// A maximum of floats by compare-and-swap: order does not matter, the returned value does.
extern "C" __global__ void max_compare_and_swap(int n, const float* __restrict__ x, unsigned* best) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned seen = *(volatile unsigned*)best;
    while (__uint_as_float(seen) < x[i]) {
        unsigned before = atomicCAS(best, seen, __float_as_uint(x[i]));
        if (before == seen) break;
        seen = before;
    }
}
