/* x86-64 with AVX-512 and its VNNI: products of 8-bit numbers, four at a time. */
#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define PATH_AVX512
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512")
#endif
#include <immintrin.h>
#include "body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ncodec_no_avx512;
#endif
