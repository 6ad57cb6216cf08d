/* AArch64 with the dot product of 8-bit numbers. */
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define PATH_DOT
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include <arm_neon.h>
#include "body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ncodec_no_dot;
#endif
