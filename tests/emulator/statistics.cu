// Batch-norm statistics and a softmax.
// Mapping: batch_statistics: block b takes channel b of x[pixels][channels]; softmax: one warp a row.
// Tests: f64 arithmetic, a fixed-order merge of means and centred squares (Chan et al.), ex2.approx,
// butterfly shuffles with a maximum, divisions.
// targets: sm_80 sm_90a

struct Moments {
    double count, mean, centred;
};

__device__ Moments merged(Moments a, Moments b) {
    double count = a.count + b.count;
    if (count == 0.0) return a;
    double delta = b.mean - a.mean;
    return {count, a.mean + delta * (b.count / count),
            a.centred + b.centred + delta * delta * (a.count * b.count / count)};
}

// mean[c] and the biased variance[c]; blockDim.x is a power of two up to 128.
extern "C" __global__ void batch_statistics(int pixels, int channels, const float* __restrict__ x,
                                            double* __restrict__ mean, double* __restrict__ variance) {
    __shared__ Moments parts[128];
    int t = threadIdx.x;
    Moments mine = {0.0, 0.0, 0.0};
    for (int p = t; p < pixels; p += blockDim.x)
        mine = merged(mine, {1.0, double(x[size_t(p) * channels + blockIdx.x]), 0.0});
    parts[t] = mine;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) parts[t] = merged(parts[t], parts[t + half]);
    }
    if (t == 0) {
        mean[blockIdx.x] = parts[0].mean;
        variance[blockIdx.x] = parts[0].centred / parts[0].count;
    }
}

extern "C" __global__ void softmax(int rows, int columns, const float* __restrict__ x,
                                   float* __restrict__ y) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    x += size_t(row) * columns;
    y += size_t(row) * columns;
    float top = __int_as_float(0xff800000);
    for (int i = lane; i < columns; i += 32) top = fmaxf(top, x[i]);
    for (int mask = 16; mask > 0; mask /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, mask));
    float sum = 0.0f;
    for (int i = lane; i < columns; i += 32) sum += __expf(x[i] - top);
    for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    for (int i = lane; i < columns; i += 32) y[i] = __expf(x[i] - top) / sum;
}
