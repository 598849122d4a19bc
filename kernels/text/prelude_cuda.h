/* Prelude of CUDA: for NVRTC, nvcc or clang, without any header. The macros and
 * their meaning: README.md. */

/* Kernels and their arguments. */
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define ARGUMENTS(type, name) const type name
#define INPUT(type, name, index) const type *__restrict__ name
#define OUTPUT(type, name, index) type *__restrict__ name
#define GLOBAL_ID (blockIdx.x * blockDim.x + threadIdx.x)
#define GLOBAL_SIZE (gridDim.x * blockDim.x)
#define FOR_ITEMS(item, count) for (U32 item = GLOBAL_ID; item < (count); item += GLOBAL_SIZE)

/* Functions and address spaces. */
#define DEVICE_FN static __device__ inline
#define GLOBAL
#define THREAD
#define CONSTANT static __constant__ const

/* Numbers. */
#define U32 unsigned int
#define REAL float
#define R(literal) literal##f
#define FMA(a, b, c) fmaf(a, b, c)
#define EXP(x) expf(x)
#define LOG(x) logf(x)
#define SQRT(x) sqrtf(x)
#define SIN(x) sinf(x)
#define COS(x) cosf(x)
#define FLOOR(x) floorf(x)
#define FABS(x) fabsf(x)
#define FMIN(a, b) fminf(a, b)
#define FMAX(a, b) fmaxf(a, b)
#define MULHI(a, b) __umulhi(a, b)

/* Checks at compile time. */
#ifdef __CUDACC_RTC__
/* NVRTC knows no offsetof; this is the operator that such a macro is made of. */
#define OFFSET_OF(type, field) __INTADDR__(&((type *)0)->field)
#else
#define OFFSET_OF(type, field) __builtin_offsetof(type, field)
#endif
#define STATIC_ASSERT(name, condition) typedef char name[(condition) ? 1 : -1]
