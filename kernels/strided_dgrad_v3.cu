// targets: sm_80
// occupancy: dgrad_v3_128x128 2
// occupancy: dgrad_v3_128x64 4
// occupancy: dgrad_v3_64x64 4
// occupancy: dgrad_v3_any 4
//
// dgrad, version 3: bf16 on tensor cores in the parity form. A block makes all four parities of its
// tile, one after the other, from the same 9 (of 25) input tiles.
//
// Mapping, walk and shared memory: strided_v3.cuh; what is done with the sums: strided_v3_end.cuh.
//
// Shared memory: 19.1 KiB for 8 rows of pixels, 13.9 KiB for 4, all of it the ring of patches.
// Registers: 230 to 254 for 8 rows (of 256: 8 warps a multiprocessor), 184 to 194 for 4; no spills.
//
// Against version 2: tensor cores instead of fused multiply-adds; a patch is read once for all taps
// of its parity, not once a tap; weights go from global memory straight to registers; the slope of
// the block below and the sums of its batch norm are made by the way; bf16 halves all bytes.
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
