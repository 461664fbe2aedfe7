// What nvcc does with functions that stay functions, arrays that stay in memory and constants.
// Mapping: one thread an element.
// Tests: calls with values and with pointers to local memory, local arrays indexed at run time,
// constant memory indexed by a lane, calls from divergent branches, early returns of callees.
// targets: sm_80 sm_90a

__constant__ float coefficients[4][5] = {
    {1.0f, -2.0f, 0.5f, 3.0f, -0.25f},
    {0.0f, 1.0f, 4.0f, -1.5f, 2.0f},
    {-3.0f, 0.125f, 1.0f, 1.0f, 1.0f},
    {2.0f, 2.0f, -2.0f, -2.0f, 0.75f},
};

__device__ __noinline__ float polynomial(int which, float x) {
    float sum = 0.0f;
    for (int i = 4; i >= 0; --i) sum = fmaf(sum, x, coefficients[which][i]);
    return sum;
}

// The greatest common divisor; b may be zero.
__device__ __noinline__ unsigned gcd(unsigned a, unsigned b) {
    if (b == 0) return a;
    while (b != 0) {
        unsigned rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

__device__ __noinline__ void sort_bytes(unsigned char* bytes, int n) {
    for (int i = 1; i < n; ++i) {
        unsigned char value = bytes[i];
        int j = i;
        for (; j > 0 && bytes[j - 1] > value; --j) bytes[j] = bytes[j - 1];
        bytes[j] = value;
    }
}

extern "C" __global__ void polynomials(int n, const float* __restrict__ x, float* __restrict__ y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = polynomial(i % 4, x[i]);
}

// Odd elements become gcd(a, b), every third of the even ones gcd(a, 0) = a, the others gcd(b, a + 1).
extern "C" __global__ void divisors(int n, const unsigned* __restrict__ a,
                                    const unsigned* __restrict__ b, unsigned* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    if (i % 2 == 1)
        out[i] = gcd(a[i], b[i]);
    else if (i % 3 == 0)
        out[i] = gcd(a[i], 0);
    else
        out[i] = gcd(b[i], a[i] + 1);
}

// Sorts the eight bytes of every word pair in a local array.
extern "C" __global__ void sorted_bytes(int n, const uint2* __restrict__ in, uint2* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned char bytes[8];
    for (int j = 0; j < 4; ++j) {
        bytes[j] = (unsigned char)(in[i].x >> (8 * j));
        bytes[4 + j] = (unsigned char)(in[i].y >> (8 * j));
    }
    sort_bytes(bytes, 8);
    unsigned low = 0, high = 0;
    for (int j = 3; j >= 0; --j) {
        low = low << 8 | bytes[j];
        high = high << 8 | bytes[4 + j];
    }
    out[i] = make_uint2(low, high);
}

// out[i] = x[order(i)] through a local array of 16 that is indexed by data.
extern "C" __global__ void local_gather(int n, const float* __restrict__ x,
                                        const unsigned char* __restrict__ order,
                                        float* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float mine[16];
    for (int j = 0; j < 16; ++j) mine[j] = x[(i + j) % n];
    float sum = 0.0f;
    for (int j = 0; j < 16; ++j) sum = sum * 0.5f + mine[order[(i + j) % n] % 16];
    out[i] = sum;
}
