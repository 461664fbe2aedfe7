// targets: sm_80
// occupancy: fprop_v3_128x128 2
// occupancy: fprop_v3_128x64 4
// occupancy: fprop_v3_64x64 4
// occupancy: fprop_v3_any 6
//
// fprop, version 3: bf16 on tensor cores in the parity form. The four planes of the big input are
// walked one after the other, and add up to one tile of sums.
//
// Mapping, walk and shared memory: strided_v3.cuh; what is done with the sums: strided_v3_end.cuh.
//
// Shared memory: 19.1 KiB for 8 rows of pixels, 13.9 KiB for 4, all of it the ring of patches.
// Registers: 225 to 234 for 8 rows (of 256: 8 warps a multiprocessor), 161 to 177 for 4; no spills.
//
// Against version 2: tensor cores instead of fused multiply-adds; a patch is read once for all taps
// of its parity, not once a tap; weights go from global memory straight to registers; the moments
// that the batch norm behind it needs are made by the way; bf16 halves all bytes.
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
