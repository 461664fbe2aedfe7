// targets: sm_75
//
// A batch of crops from parents that lie in device memory, each turned by one of the 8 symmetries
// of src/data/symmetry.rs: an optional flip of columns, then of rows, then a transposition.
//
// Mapping: a block of 32 x 8 threads makes a tile of 32 x 32 pixels of one crop; blockIdx.z is the
// crop. Both sides are read and written along rows; a transposed tile turns in shared memory
// (4.1 KiB, rows padded by one value against conflicts).

struct CropDescriptor {
    unsigned long long offset;  // of the crop's first pixel in the parents, in values
    unsigned row;               // values from one row of the parent to the next
    unsigned symmetry;          // bit 0 flips columns, bit 1 rows, bit 2 transposes
};

struct CropParams {
    const float *parents;
    const CropDescriptor *descriptors;  // [batch]
    float *to;                          // [batch, side, side, channels]
    int side;
    int channels;
};

constexpr int TILE = 32;
constexpr int ROWS = 8;

extern "C" __global__ void __launch_bounds__(TILE *ROWS) crop(const CropParams p)
{
    __shared__ float tile[TILE][TILE + 1];
    const CropDescriptor d = p.descriptors[blockIdx.z];
    const bool turned = (d.symmetry & 4) != 0;
    // The tile in the plane before the transposition.
    const int left = (turned ? blockIdx.y : blockIdx.x) * TILE;
    const int top = (turned ? blockIdx.x : blockIdx.y) * TILE;
    const int column = left + threadIdx.x;
    const int from_column = d.symmetry & 1 ? p.side - 1 - column : column;
    const float *from = p.parents + d.offset;
    const int to_column = blockIdx.x * TILE + threadIdx.x;
    float *to = p.to + blockIdx.z * p.side * p.side * p.channels;

#pragma unroll 1
    for (int channel = 0; channel < p.channels; ++channel) {
        for (int y = threadIdx.y; y < TILE; y += ROWS) {
            const int row = top + y;
            if (row < p.side && column < p.side) {
                const int from_row = d.symmetry & 2 ? p.side - 1 - row : row;
                tile[y][threadIdx.x] = from[from_row * d.row + from_column * p.channels + channel];
            }
        }
        __syncthreads();
        for (int y = threadIdx.y; y < TILE; y += ROWS) {
            const int row = blockIdx.y * TILE + y;
            if (row < p.side && to_column < p.side) {
                const float value = turned ? tile[threadIdx.x][y] : tile[y][threadIdx.x];
                to[(row * p.side + to_column) * p.channels + channel] = value;
            }
        }
        __syncthreads();
    }
}
