// targets: sm_75
//
// The dense layer as one tiled matrix product in three layouts: y = x W, dW = x^T dy, dx = dy W^T
// (x [batch, inputs], W [inputs, outputs], y [batch, outputs]). A long sum is cut into parts whose
// results dense_merge or sum_partials adds in f64.
//
// Mapping and shared memory: see dense_tile.cuh.

#include "dense_tile.cuh"

using Params = DenseParams<float, float, float>;

extern "C" __global__ void __launch_bounds__(256) dense_forward(const Params p)
{
    product<true, false>(p);
}

extern "C" __global__ void __launch_bounds__(256) dense_weight_gradient(const Params p)
{
    product<false, false>(p);
}

extern "C" __global__ void __launch_bounds__(256) dense_input_gradient(const Params p)
{
    product<true, true>(p);
}
