/* Stands for the built-in declarations of NVRTC when clang checks the shape of a
 * text as CUDA, without any file of NVIDIA. */
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __constant__ __attribute__((constant))
struct Position {
    unsigned int x, y, z;
};
extern const __device__ Position threadIdx, blockIdx, blockDim, gridDim;
__device__ float fmaf(float, float, float);
__device__ float expf(float);
__device__ float logf(float);
__device__ float sqrtf(float);
__device__ float sinf(float);
__device__ float cosf(float);
__device__ float floorf(float);
__device__ float fabsf(float);
__device__ float fminf(float, float);
__device__ float fmaxf(float, float);
__device__ unsigned int __umulhi(unsigned int, unsigned int);
#pragma GCC poison double goto
