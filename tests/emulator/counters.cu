// One kernel for each thing that the counters count.
// Mapping: one thread an element, no guards: every launch fits.
// Tests: sectors, requests, bytes, shared wavefronts, atomics, barriers, footprint.
// targets: sm_80

// y[i] = x[i stride]
extern "C" __global__ void gather(int stride, const float* x, float* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[size_t(i) * stride];
}

// y[i] = x[0]
extern "C" __global__ void broadcast(const float* x, float* y) {
    y[blockIdx.x * blockDim.x + threadIdx.x] = *(volatile const float*)x;
}

extern "C" __global__ void copy_float4(const float4* x, float4* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i];
}

// Writes word t stride of 1024 (modulo 1024) and reads it again, behind one barrier.
extern "C" __global__ void shared_stride(int stride, unsigned* y) {
    __shared__ unsigned words[1024];
    int t = threadIdx.x, at = t * stride % 1024;
    words[at] = t;
    __syncthreads();
    y[t] = words[at];
}

// The same with 16 bytes a lane.
extern "C" __global__ void shared_float4(float4* y) {
    __shared__ float4 words[32];
    int t = threadIdx.x;
    words[t] = make_float4(t, t, t, t);
    __syncthreads();
    y[t] = words[t];
}

// Sixteen bytes a lane to shared memory behind the warp's back, every fourth lane's zero-filled.
extern "C" __global__ void async16(const float4* x, float4* y) {
    __shared__ float4 words[128];
    int t = threadIdx.x;
    unsigned to = unsigned(__cvta_generic_to_shared(&words[t]));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(x + t), "r"(t % 4 == 3 ? 0 : 16));
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    y[t] = words[t];
}

// One global atomic a thread: to one word a warp.
extern "C" __global__ void atomic_words(unsigned* y) {
    atomicAdd(&y[(blockIdx.x * blockDim.x + threadIdx.x) / 32 * 8], 1u);
}

// k fused multiply-adds, then one store.
extern "C" __global__ void fma_chain(int k, float a, float* y) {
    float sum = a;
#pragma unroll 1
    for (int i = 0; i < k; ++i) sum = fmaf(sum, a, 1.0f);
    y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
