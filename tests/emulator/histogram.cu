// counts[b] += the number of values with b = value % bins.
// Mapping: one thread a value, grid-stride; a histogram of dynamic shared memory a block.
// Tests: shared integer atomics, dynamic shared memory, global atomics whose result nobody reads.
// targets: sm_80 sm_90a

extern "C" __global__ void histogram(int n, int bins, const unsigned* __restrict__ values,
                                     unsigned* counts) {
    extern __shared__ unsigned mine[];
    for (int b = threadIdx.x; b < bins; b += blockDim.x) mine[b] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&mine[values[i] % bins], 1u);
    __syncthreads();
    for (int b = threadIdx.x; b < bins; b += blockDim.x)
        if (mine[b] != 0) atomicAdd(&counts[b], mine[b]);
}
