/* What the kernel uses of the C library. WebAssembly has none: wasm.c is there instead. */
#ifndef NCODEC_LIBC_H
#define NCODEC_LIBC_H

#if defined(__wasm__)
#include <stddef.h>

void *malloc(size_t n);
void *calloc(size_t n, size_t each);
void free(void *block);
int strcmp(const char *a, const char *b);
#define memcpy __builtin_memcpy /* the compiler replaces the small ones */
#define memset __builtin_memset
#define memmove __builtin_memmove
#else
#include <stdlib.h>
#include <string.h>
#endif

#endif
