// targets: sm_80
#include "strided_v3_end.cuh"

template <class K>
__device__ __forceinline__ void dgrad(const HalfStridedParams &p)
{
    __shared__ __align__(128) unsigned char ring[STAGES * K::STAGE];
    const Place place = Place::of_block<K>(p);
    Walk<K> walk(p, place, shared_address(ring));
    End<K> end(p, place);
#pragma unroll 1
    for (int parities = 0; parities < 4; ++parities) {
        const int vertical = parities / 2;
        const int horizontal = parities % 2;
        Sums<K::ROWS> sum = {};
        if (vertical == 0) {
            walk.template accumulate<3>(sum, walk.all_chunks(), 3 - horizontal);
        } else {
            walk.template accumulate<2>(sum, walk.all_chunks(), 3 - horizontal);
        }
        end.finish(sum, Pixels<K>(p, place, K::odd(vertical, p.pad_low),
                                  K::odd(horizontal, p.pad_low)));
    }
    end.store_statistics();
}

extern "C" __global__ void __launch_bounds__(128, 2) dgrad_v3_128x128(const HalfStridedParams p)
{
    dgrad<Kernel<false, 8, 4, false>>(p);
}

extern "C" __global__ void __launch_bounds__(64, 4) dgrad_v3_128x64(const HalfStridedParams p)
{
    dgrad<Kernel<false, 8, 2, false>>(p);
}

extern "C" __global__ void __launch_bounds__(64, 4) dgrad_v3_64x64(const HalfStridedParams p)
{
    dgrad<Kernel<false, 4, 2, false>>(p);
}

// Any channel counts.
extern "C" __global__ void __launch_bounds__(64) dgrad_v3_any(const HalfStridedParams p)
{
    dgrad<Kernel<false, 4, 2, true>>(p);
}
