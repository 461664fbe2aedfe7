// Integer reductions of a warp in one instruction.
// Mapping: one thread an element.
// Tests: redux.sync add, min, max (signed, unsigned), and, or, xor, over the lanes of a branch too.
// targets: sm_80 sm_90a

extern "C" __global__ void redux(const int* __restrict__ x, int* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int value = x[i], *mine = out + 8 * i;
    constexpr unsigned ALL = 0xffffffffu;
    mine[0] = __reduce_add_sync(ALL, value);
    mine[1] = __reduce_min_sync(ALL, value);
    mine[2] = __reduce_max_sync(ALL, value);
    mine[3] = __reduce_min_sync(ALL, unsigned(value));
    mine[4] = __reduce_max_sync(ALL, unsigned(value));
    mine[5] = __reduce_and_sync(ALL, unsigned(value) | 0xf0u);
    mine[6] = __reduce_or_sync(ALL, unsigned(value) & 0xff00u);
    unsigned positive = __ballot_sync(ALL, value > 0);
    if (value > 0)
        mine[7] = __reduce_xor_sync(positive, unsigned(value));
    else
        mine[7] = 0;
}
