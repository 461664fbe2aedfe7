// Copies to shared memory that run behind the warp's back.
// Mapping: one block a row of x[rows][256 chunks], 128 threads.
// Tests: cp.async of 4, 8 and 16 bytes, through L1 and past it, zero-fill, groups and waits.
// targets: sm_80 sm_90a

template <int BYTES>
__device__ void copy_async(void* shared, const void* global, int bytes) {
    unsigned to = unsigned(__cvta_generic_to_shared(shared));
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes));
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(BYTES),
                     "r"(bytes));
}

__device__ void commit() { asm volatile("cp.async.commit_group;"); }

template <int GROUPS>
__device__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
}

// y[i] = x[i - 1] + 2 x[i] + x[i + 1] in a row of n values, zero beyond it. A ring of three tiles of
// WORDS * 128 words and one halo word on either side; two copies are under way at any time.
template <int WORDS>
__device__ void smooth(int n, int pitch, const float* __restrict__ x, float* __restrict__ y) {
    constexpr int TILE = WORDS * 128, STAGES = 3, HALO = 4;
    __shared__ __align__(16) float ring[STAGES][HALO + TILE + HALO];
    int t = threadIdx.x, tiles = (n + TILE - 1) / TILE;
    x += size_t(blockIdx.x) * pitch;
    y += size_t(blockIdx.x) * n;
    auto load = [&](int tile) {
        float* to = ring[tile % STAGES];
        int at = tile * TILE + t * WORDS, inside = min(max(n - at, 0), WORDS);
        copy_async<4 * WORDS>(to + HALO + t * WORDS, inside > 0 ? x + at : x, 4 * inside);
        if (t < 2) {
            int halo = t == 0 ? tile * TILE - 1 : (tile + 1) * TILE;
            bool valid = halo >= 0 && halo < n;
            copy_async<4>(to + (t == 0 ? HALO - 1 : HALO + TILE), x + (valid ? halo : 0), valid ? 4 : 0);
        }
    };
    for (int tile = 0; tile < STAGES - 1; ++tile) {
        if (tile < tiles) load(tile);
        commit();
    }
    for (int tile = 0; tile < tiles; ++tile) {
        wait<STAGES - 2>();
        __syncthreads();
        const float* in = ring[tile % STAGES] + HALO;
        for (int j = t; j < TILE && tile * TILE + j < n; j += 128)
            y[tile * TILE + j] = in[j - 1] + 2.0f * in[j] + in[j + 1];
        if (tile + STAGES - 1 < tiles) load(tile + STAGES - 1);
        commit();
    }
}

extern "C" __global__ void smooth4(int n, int pitch, const float* x, float* y) { smooth<1>(n, pitch, x, y); }
extern "C" __global__ void smooth8(int n, int pitch, const float* x, float* y) { smooth<2>(n, pitch, x, y); }
extern "C" __global__ void smooth16(int n, int pitch, const float* x, float* y) { smooth<4>(n, pitch, x, y); }

// out[i] = x[i] + x[i + 1] for i % 128 < 127, in blocks of 128; cp.async.wait_all instead of groups.
extern "C" __global__ void pairs_wait_all(const float* x, float* out) {
    __shared__ float line[128];
    int i = blockIdx.x * 128 + threadIdx.x;
    copy_async<4>(&line[threadIdx.x], x + i, 4);
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    out[i] = line[threadIdx.x] + (threadIdx.x < 127 ? line[threadIdx.x + 1] : 0.0f);
}
