// Matrices of 8 x 8 two-byte values from registers to shared memory.
// Mapping: one warp; lane l holds in register j the values (row l / 4, columns 2 (l % 4) and + 1) of
// matrix j.
// Tests: stmatrix x1, x2, x4, plain and transposed, read back by plain loads.
// targets: sm_90a

// x[4][8][8] to plain[4][8][8] and transposed[4][8][8], two-byte values.
extern "C" __global__ void stmatrix(const unsigned* __restrict__ x, unsigned* __restrict__ plain,
                                    unsigned* __restrict__ transposed) {
    __shared__ __align__(16) unsigned tile[2][4][8][4];
    int lane = threadIdx.x;
    unsigned r[4];
    for (int j = 0; j < 4; ++j) r[j] = x[j * 32 + lane];
    unsigned to = unsigned(__cvta_generic_to_shared(&tile[0][lane / 8][lane % 8][0]));
    unsigned over = unsigned(__cvta_generic_to_shared(&tile[1][lane / 8][lane % 8][0]));
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(r[0]),
                 "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(over), "r"(r[0]),
                 "r"(r[1])
                 : "memory");
    for (int j = 2; j < 4; ++j) {
        unsigned one = unsigned(__cvta_generic_to_shared(&tile[1][j][lane % 8][0]));
        asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(one), "r"(r[j])
                     : "memory");
    }
    __syncwarp();
    for (int j = 0; j < 4; ++j) {
        plain[j * 32 + lane] = tile[0][j][lane / 4][lane % 4];
        transposed[j * 32 + lane] = tile[1][j][lane / 4][lane % 4];
    }
}
