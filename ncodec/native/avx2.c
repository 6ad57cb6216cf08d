/* x86-64 with AVX2. */
#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define PATH_AVX2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>
#include "body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ncodec_no_avx2;
#endif
