// targets: sm_75
//
// Adds the parts of a dense layer's long sums: see dense_merge.cuh. (The gradients, which have neither
// bias nor activation, go through sum_partials.)

#include "dense_merge.cuh"

extern "C" __global__ void __launch_bounds__(MERGE_THREADS)
    dense_merge(const DenseMergeParams<float> p)
{
    merge_parts(p, [](float *to, float x) { *to = x; });
}
