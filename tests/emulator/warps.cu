// What lanes of a warp tell each other.
// Mapping: one thread an element, n a multiple of 32 unless a mask says otherwise.
// Tests: every shuffle mode with widths below 32, votes, match, active masks of divergent branches.
// targets: sm_75 sm_80 sm_90a

constexpr unsigned ALL = 0xffffffffu;

// out[i][0..5]: from above, from below, butterfly, from a lane by data, and within groups of 8.
extern "C" __global__ void shuffles(const int* __restrict__ x, int* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int value = x[i], *mine = out + 6 * i;
    mine[0] = __shfl_down_sync(ALL, value, 3);
    mine[1] = __shfl_up_sync(ALL, value, 5);
    mine[2] = __shfl_xor_sync(ALL, value, 17);
    mine[3] = __shfl_sync(ALL, value, value & 31);
    mine[4] = __shfl_down_sync(ALL, value, 3, 8);
    mine[5] = __shfl_up_sync(ALL, value, 2, 8);
}

// out[i][0..4]: ballot, any, all and not-any-unequal of x > limit.
extern "C" __global__ void votes(int limit, const int* __restrict__ x, unsigned* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    bool above = x[i] > limit;
    uint4 told = make_uint4(__ballot_sync(ALL, above), __any_sync(ALL, above), __all_sync(ALL, above),
                            __uni_sync(ALL, above));
    reinterpret_cast<uint4*>(out)[i] = told;
}

// out[i]: which lanes hold the same value; all[i]: the mask if all do, else zero.
extern "C" __global__ void matches(const int* __restrict__ x, unsigned* __restrict__ any,
                                   unsigned* __restrict__ all) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, same;
    any[i] = __match_any_sync(ALL, x[i]);
    unsigned mask = __match_all_sync(ALL, x[i] >> 8, &same);
    all[i] = same ? mask : 0;
}

// The sum over the lanes that took the same branch: odd and even values apart.
extern "C" __global__ void divergent_sums(const int* __restrict__ x, int* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    int value = x[i];
    unsigned odd = __ballot_sync(ALL, value & 1);
    int sum = 0;
    if (value & 1) {
        for (int source = 0; source < 32; ++source)
            if (odd >> source & 1) sum += __shfl_sync(odd, value, source);
    } else {
        for (int source = 0; source < 32; ++source)
            if (~odd >> source & 1) sum -= __shfl_sync(~odd, value, source);
    }
    __syncwarp();
    out[i] = __shfl_xor_sync(ALL, sum, 1) * 2 + (lane & 1);
}

// An inclusive scan of every warp through shared memory, with __syncwarp between its steps.
extern "C" __global__ void scan_syncwarp(const int* __restrict__ x, int* __restrict__ out) {
    __shared__ int line[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    int* warp = line + (threadIdx.x - lane);
    int sum = x[i];
    for (int step = 1; step < 32; step *= 2) {
        warp[lane] = sum;
        __syncwarp();
        if (lane >= step) sum += warp[lane - step];
        __syncwarp();
    }
    out[i] = sum;
}
