// Philox 4x32-10 words and uniforms.
// Mapping: one thread a counter.
// Tests: high halves of 32-bit products, 16-byte loads and stores, wrap-around, unsigned conversion.
// targets: sm_80 sm_90a

__device__ uint4 philox4x32_10(uint4 c, uint2 key) {
    for (int round = 0; round < 10; ++round) {
        unsigned low0 = 0xD2511F53u * c.x, high0 = __umulhi(0xD2511F53u, c.x);
        unsigned low1 = 0xCD9E8D57u * c.z, high1 = __umulhi(0xCD9E8D57u, c.z);
        c = make_uint4(high1 ^ c.y ^ key.x, low1, high0 ^ c.w ^ key.y, low0);
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return c;
}

extern "C" __global__ void philox_words(int n, const uint4* __restrict__ counters,
                                        const uint2* __restrict__ keys, uint4* __restrict__ words) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) words[i] = philox4x32_10(counters[i], keys[i]);
}

// Uniform numbers on [0, 1) of one stream: the upper 24 bits of word i.
extern "C" __global__ void philox_uniform(int n, uint2 key, unsigned long long step, unsigned stream,
                                          float* __restrict__ out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (4 * i >= n) return;
    uint4 counter = make_uint4(i, unsigned(step), unsigned(step >> 32), stream);
    uint4 word = philox4x32_10(counter, key);
    const unsigned drawn[4] = {word.x, word.y, word.z, word.w};
    for (int j = 0; j < 4 && 4 * i + j < n; ++j) out[4 * i + j] = (drawn[j] >> 8) * (1.0f / 16777216.0f);
}
