/* Stands for the Metal Shading Language when clang++ checks the shape of a text:
 * address spaces are real, there is no double, the rest is declared. */
typedef unsigned int uint;
#define kernel
#define thread
#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
namespace metal {
float fma(float, float, float);
float floor(float);
float fabs(float);
float fmin(float, float);
float fmax(float, float);
uint mulhi(uint, uint);
namespace precise {
float exp(float);
float log(float);
float sqrt(float);
float sin(float);
float cos(float);
}
}
#pragma GCC poison double goto
