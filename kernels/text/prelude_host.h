/* Prelude of the host: makes a kernel text plain C99. The macros and their
 * meaning: README.md. A kernel is an ordinary function that serves one position
 * of the grid; the caller loops over the positions. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Kernels and their arguments. */
#define KERNEL(name, ...) void name(__VA_ARGS__, U32 global_id, U32 global_size)
#define ARGUMENTS(type, name) const type name
#define INPUT(type, name, index) const type *restrict name
#define OUTPUT(type, name, index) type *restrict name
#define GLOBAL_ID global_id
#define GLOBAL_SIZE global_size
#define FOR_ITEMS(item, count) for (U32 item = GLOBAL_ID; item < (count); item += GLOBAL_SIZE)

/* Functions and address spaces. */
#define DEVICE_FN static inline
#define GLOBAL
#define THREAD
#define CONSTANT static const

/* Numbers. */
#define U32 uint32_t
#ifdef REAL_IS_DOUBLE
#define REAL double
#define R(literal) literal
#define FMA(a, b, c) fma(a, b, c)
#define EXP(x) exp(x)
#define LOG(x) log(x)
#define SQRT(x) sqrt(x)
#define SIN(x) sin(x)
#define COS(x) cos(x)
#define FLOOR(x) floor(x)
#define FABS(x) fabs(x)
#define FMIN(a, b) fmin(a, b)
#define FMAX(a, b) fmax(a, b)
#else
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
#endif
#define MULHI(a, b) ((U32)(((uint64_t)(a) * (uint64_t)(b)) >> 32))

/* Checks at compile time. */
#define OFFSET_OF(type, field) offsetof(type, field)
#define STATIC_ASSERT(name, condition) typedef char name[(condition) ? 1 : -1]
