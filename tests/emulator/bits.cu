// Integer instructions that kernels of images and random numbers use.
// Mapping: one thread an element.
// Tests: counts of bits, reversals, byte permutations, funnel shifts, shifts by 32 and more, 64-bit
// products, quotients and remainders, fields of bits, saturation, rounding conversions.
// targets: sm_80 sm_90a

extern "C" __global__ void bits32(int n, const unsigned* __restrict__ a, const unsigned* __restrict__ b,
                                  unsigned* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned x = a[i], y = b[i], *mine = out + 12 * i, field;
    mine[0] = __popc(x);
    mine[1] = __clz(x);
    mine[2] = __brev(x);
    mine[3] = __ffs(x);
    mine[4] = __byte_perm(x, y, y & 0x7777);
    mine[5] = __funnelshift_l(x, y, y);
    mine[6] = __funnelshift_rc(x, y, y % 64);
    asm("shl.b32 %0, %1, %2;" : "=r"(field) : "r"(x), "r"(y % 64));
    mine[7] = field;
    asm("shr.s32 %0, %1, %2;" : "=r"(field) : "r"(x), "r"(y % 64));
    mine[8] = field;
    asm("bfe.s32 %0, %1, %2, %3;" : "=r"(field) : "r"(x), "r"(y % 32), "r"(y / 32 % 32));
    mine[9] = field;
    asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(field) : "r"(x), "r"(y), "r"(y % 32), "r"(x % 32));
    mine[10] = field;
    mine[11] = __sad(int(x), int(y), x ^ y) + min(int(x), int(y)) - max(x, y);
}

// Divisors are never zero.
extern "C" __global__ void words64(int n, const long long* __restrict__ a, const long long* __restrict__ b,
                                   long long* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long x = a[i], y = b[i], *mine = out + 6 * i;
    mine[0] = x * y + 1;
    mine[1] = __mul64hi(x, y);
    mine[2] = (unsigned long long)x / (unsigned long long)y;
    mine[3] = (unsigned long long)x % (unsigned long long)y;
    mine[4] = (x >> 7) ^ (long long)((unsigned long long)y << (x & 63));
    mine[5] = __popcll(x) + __clzll(y);
}

extern "C" __global__ void conversions(int n, const float* __restrict__ x, int* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float value = x[i];
    int* mine = out + 8 * i;
    mine[0] = __float2int_rn(value);
    mine[1] = __float2int_rz(value);
    mine[2] = __float2int_rd(value);
    mine[3] = __float2int_ru(value);
    mine[4] = __float2uint_rn(value);
    mine[5] = __float_as_int(__int2float_rn(__float_as_int(value)));
    mine[6] = __float_as_int(rintf(value));
    mine[7] = __float_as_int(floorf(value)) ^ __float_as_int(ceilf(value));
}
