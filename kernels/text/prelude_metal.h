/* Prelude of Metal: for the Metal Shading Language 2.3 and later. The macros and
 * their meaning: README.md. The precise functions are named in full, so that the
 * fast-math setting of the library does not change them. */
#include <metal_stdlib>

/* Kernels and their arguments. */
#define KERNEL(name, ...) \
    kernel void name(__VA_ARGS__, uint global_id [[thread_position_in_grid]], \
                     uint global_size [[threads_per_grid]])
#define ARGUMENTS(type, name) constant type &name [[buffer(0)]]
#define INPUT(type, name, index) device const type *name [[buffer(index)]]
#define OUTPUT(type, name, index) device type *name [[buffer(index)]]
#define GLOBAL_ID global_id
#define GLOBAL_SIZE global_size
#define FOR_ITEMS(item, count) for (U32 item = GLOBAL_ID; item < (count); item += GLOBAL_SIZE)

/* Functions and address spaces. */
#define DEVICE_FN static inline
#define GLOBAL device
#define THREAD thread
#define CONSTANT constant const

/* Numbers. */
#define U32 uint
#define REAL float
#define R(literal) literal##f
#define FMA(a, b, c) metal::fma(a, b, c)
#define EXP(x) metal::precise::exp(x)
#define LOG(x) metal::precise::log(x)
#define SQRT(x) metal::precise::sqrt(x)
#define SIN(x) metal::precise::sin(x)
#define COS(x) metal::precise::cos(x)
#define FLOOR(x) metal::floor(x)
#define FABS(x) metal::fabs(x)
#define FMIN(a, b) metal::fmin(a, b)
#define FMAX(a, b) metal::fmax(a, b)
#define MULHI(a, b) metal::mulhi(a, b)

/* Checks at compile time. */
#define OFFSET_OF(type, field) __builtin_offsetof(type, field)
#define STATIC_ASSERT(name, condition) typedef char name[(condition) ? 1 : -1]
