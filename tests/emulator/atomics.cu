// Atomics whose returned value matters.
// Mapping: one thread an element.
// Tests: add, exchange, increment, decrement, compare-and-swap of 32 and 64 bits, on global memory.
// targets: sm_80 sm_90a

// Writes the indices of the positive values to out in any order; *count is their number.
extern "C" __global__ void compact(int n, const float* __restrict__ x, unsigned* count, int* out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && x[i] > 0.0f) out[atomicAdd(count, 1u)] = i;
}

// Every thread puts its number into the box and takes what lay there: a permutation of 0..n.
extern "C" __global__ void pass_on(int n, unsigned* box, unsigned* taken) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) taken[i] = atomicExch(box, i + 1);
}

// round_robin[i] counts up and wraps at limit, countdown[i] counts down and wraps to limit.
extern "C" __global__ void turns(int n, unsigned limit, unsigned* up, unsigned* down,
                                 unsigned* round_robin, unsigned* countdown) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    round_robin[i] = atomicInc(up, limit);
    countdown[i] = atomicDec(down, limit);
}

// A 64-bit product modulo 2^64 over all values, by compare-and-swap.
extern "C" __global__ void product64(int n, const unsigned long long* __restrict__ x,
                                     unsigned long long* product) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long seen = 1, before;
    while ((before = atomicCAS(product, seen, seen * x[i])) != seen) seen = before;
}
