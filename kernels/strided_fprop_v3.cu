// targets: sm_80
#include "strided_v3_end.cuh"

template <class K>
__device__ __forceinline__ void fprop(const HalfStridedParams &p)
{
    __shared__ __align__(128) unsigned char ring[STAGES * K::STAGE];
    const Place place = Place::of_block<K>(p);
    Walk<K> walk(p, place, shared_address(ring));
    Sums<K::ROWS> sum = {};
    walk.template accumulate<3>(sum, 2 * walk.all_chunks(), 3);
    walk.template accumulate<2>(sum, 2 * walk.all_chunks(), 3);
    End<K> end(p, place);
    end.finish(sum, Pixels<K>(p, place, 0, 0));
    end.store_statistics();
}

extern "C" __global__ void __launch_bounds__(128, 2) fprop_v3_128x128(const HalfStridedParams p)
{
    fprop<Kernel<true, 8, 4, false>>(p);
}

extern "C" __global__ void __launch_bounds__(64, 4) fprop_v3_128x64(const HalfStridedParams p)
{
    fprop<Kernel<true, 8, 2, false>>(p);
}

extern "C" __global__ void __launch_bounds__(64, 4) fprop_v3_64x64(const HalfStridedParams p)
{
    fprop<Kernel<true, 4, 2, false>>(p);
}

// Any channel counts.
extern "C" __global__ void __launch_bounds__(64) fprop_v3_any(const HalfStridedParams p)
{
    fprop<Kernel<true, 4, 2, true>>(p);
}
