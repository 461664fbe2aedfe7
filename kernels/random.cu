// targets: sm_75
//
// Random numbers of a stream at the present step.
//
// Mapping: a thread makes the four numbers of one Philox block; the last one as many as are left.
// No shared memory; 4 adjacent values a thread, as one float4 where the pointer allows.

#include "philox.cuh"

struct RandomParams {
    float *to;
    const StepValues *values;
    unsigned len;
    unsigned stream;
    unsigned aligned;  // whether `to` is a multiple of 16 bytes
    unsigned unused;
};

__device__ __forceinline__ void put(const RandomParams &p, unsigned block, float4 x)
{
    const unsigned at = 4 * block;
    if (p.aligned && at + 4 <= p.len) {
        *reinterpret_cast<float4 *>(p.to + at) = x;
        return;
    }
    const float values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        if (at + i < p.len) {
            p.to[at + i] = values[i];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) uniforms(const RandomParams p)
{
    const unsigned block = blockIdx.x * blockDim.x + threadIdx.x;
    if (4 * block < p.len) {
        const uint4 w = philox_block(p.values, p.stream, block);
        put(p, block, make_float4(uniform(w.x), uniform(w.y), uniform(w.z), uniform(w.w)));
    }
}

extern "C" __global__ void __launch_bounds__(256) normals(const RandomParams p)
{
    const unsigned block = blockIdx.x * blockDim.x + threadIdx.x;
    if (4 * block < p.len) {
        const uint4 w = philox_block(p.values, p.stream, block);
        const float2 a = box_muller(w.x, w.y), b = box_muller(w.z, w.w);
        put(p, block, make_float4(a.x, a.y, b.x, b.y));
    }
}

// What the numbers are made of, for checks against published words and extreme ones.
struct PhiloxWordsParams {
    const uint4 *counters;
    const uint2 *keys;
    uint4 *words;
    float4 *normals;  // of the counters taken as words
    unsigned len;
    unsigned unused;
};

extern "C" __global__ void __launch_bounds__(256) philox_words(const PhiloxWordsParams p)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.len) {
        const uint4 w = p.counters[i];
        p.words[i] = philox4x32_10(w, p.keys[i]);
        const float2 a = box_muller(w.x, w.y), b = box_muller(w.z, w.w);
        p.normals[i] = make_float4(a.x, a.y, b.x, b.y);
    }
}
