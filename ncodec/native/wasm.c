/* WebAssembly: the memory that a C library would manage, and what JavaScript calls.
 *
 *     clang --target=wasm32 -msimd128 -O3 -nostdlib -ffreestanding -std=c11 -ffp-contract=off \
 *         -Wl,--no-entry -o ncodec.wasm adaptive.c kernel.c mixed.c networks.c plain.c wasm.c
 *
 * web/tools/build.py does so for the player.
 *
 * Pointers are numbers in JavaScript; `malloc` gives room for sizes, tensors, payloads and codes.
 * Memory may grow, and views of it be lost, in `malloc` and whatever is called new. Counts and
 * payloads are the caller's to check, as PAYLOADS.md says. Codes are [F, S, Q], 32 bits each.
 */
#if defined(__wasm__)
#include "adaptive.h"
#include "kernel.h"
#include "libc.h"
#include "mixed.h"
#include "networks.h"

#define EXPORT(name) __attribute__((export_name(name)))

/* ---- memory: blocks of powers of two, freed ones in a list for each -------------------------- */

typedef union block {
    struct {
        union block *next;
        int power;
    };
    uint8_t aligned[16];
} block;

enum { PAGE = 1 << 16 };

extern uint8_t __heap_base; /* where the linker's own data end */
static block *freed[32];
static uintptr_t top;

EXPORT("malloc") void *malloc(size_t n)
{
    int power = 5;
    while (power < 31 && ((size_t)1 << power) - sizeof(block) < n)
        power++;
    const size_t size = (size_t)1 << power;
    block *found = freed[power];
    if (size - sizeof(block) < n)
        return NULL;
    if (found) {
        freed[power] = found->next;
        return found + 1;
    }
    if (!top)
        top = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    const size_t room = __builtin_wasm_memory_size(0) * (size_t)PAGE - top;
    if (size > room
        && __builtin_wasm_memory_grow(0, (size - room + PAGE - 1) / PAGE) == (size_t)-1)
        return NULL;
    found = (block *)top;
    found->power = power;
    top += size;
    return found + 1;
}

void *calloc(size_t n, size_t each)
{
    size_t size;
    void *found = __builtin_mul_overflow(n, each, &size) ? NULL : malloc(size);
    return found ? memset(found, 0, size) : NULL;
}

EXPORT("free") void free(void *pointer)
{
    if (!pointer)
        return;
    block *of = (block *)pointer - 1;
    of->next = freed[of->power];
    freed[of->power] = of;
}

#undef memcpy
#undef memset
#undef memmove

void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    if ((uintptr_t)to < (uintptr_t)from)
        for (size_t i = 0; i < n; i++)
            t[i] = f[i];
    else
        while (n-- > 0)
            t[n] = f[n];
    return to;
}

void *memcpy(void *to, const void *from, size_t n) { return memmove(to, from, n); }

void *memset(void *to, int value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = (uint8_t)value;
    return to;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a - *b;
}

/* ---- what JavaScript calls ------------------------------------------------------------------- */

/* A transformer of `ncodec_model_bytes` tensors, by eight sizes; see kernel.h. */
EXPORT("model_new") ncodec_model *model_new(const ncodec_sizes *sizes, const uint8_t *tensors)
{
    return ncodec_model_new(sizes, tensors, NULL);
}

EXPORT("model_free") void model_free(ncodec_model *model) { ncodec_model_free(model); }

EXPORT("model_bytes") size_t model_bytes(const ncodec_sizes *sizes)
{
    return ncodec_model_bytes(sizes);
}

EXPORT("context_new")
ncodec_context *context_new(const ncodec_model *model, int n_streams, int n_q)
{
    return ncodec_context_new(model, 1, n_streams, n_q, 1);
}

EXPORT("context_reset") void context_reset(ncodec_context *context)
{
    ncodec_context_reset(context);
}

EXPORT("context_free") void context_free(ncodec_context *context) { ncodec_context_free(context); }

/* Returns -1, or after how many codes no symbol fits. */
EXPORT("decode")
int decode(
    ncodec_context *context, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes)
{
    int64_t failed;
    ncodec_decode(context, 1, &payload, &n_bytes, &n_frames, &codes, &failed);
    return (int)failed;
}

EXPORT("adaptive_new")
ncodec_adaptive *adaptive_new(int n_streams, int n_codebooks, int codebook_size)
{
    return ncodec_adaptive_new(n_streams, n_codebooks, codebook_size);
}

EXPORT("adaptive_reset") void adaptive_reset(ncodec_adaptive *coder)
{
    ncodec_adaptive_reset(coder);
}

EXPORT("adaptive_free") void adaptive_free(ncodec_adaptive *coder) { ncodec_adaptive_free(coder); }

EXPORT("adaptive_decode")
int adaptive_decode(
    ncodec_adaptive *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes)
{
    return (int)ncodec_adaptive_decode(coder, payload, n_bytes, n_frames, codes);
}

EXPORT("mixed_new")
ncodec_mixed *mixed_new(int n_streams, int n_codebooks, int codebook_size)
{
    return ncodec_mixed_new(n_streams, n_codebooks, codebook_size);
}

EXPORT("mixed_reset") void mixed_reset(ncodec_mixed *coder) { ncodec_mixed_reset(coder); }

EXPORT("mixed_free") void mixed_free(ncodec_mixed *coder) { ncodec_mixed_free(coder); }

EXPORT("mixed_decode")
int mixed_decode(
    ncodec_mixed *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes)
{
    return (int)ncodec_mixed_decode(coder, payload, n_bytes, n_frames, codes);
}

/* Weights of `weight_bytes` each (4 or 2), biases or NULL; see networks.h. */
EXPORT("matrix_new")
ncodec_matrix *matrix_new(
    int n_out, int n_in, const void *weights, int weight_bytes, const void *biases, int bias_bytes)
{
    const ncodec_numbers both[] = {{weights, weight_bytes}, {biases, bias_bytes}};
    return ncodec_matrix_new(n_out, n_in, both[0], both[1], NULL);
}

EXPORT("matrix_free") void matrix_free(ncodec_matrix *matrix) { ncodec_matrix_free(matrix); }

EXPORT("product")
void product(const ncodec_matrix *matrix, const float *rows, size_t step, int n, float *found)
{
    ncodec_product(matrix, rows, step, n, found);
}

/* Blocks of five sizes, and tensors as pairs of a pointer and the bytes of a number. */
EXPORT("stack_new")
ncodec_stack *stack_new(const ncodec_stack_sizes *sizes, const ncodec_numbers *tensors)
{
    return ncodec_stack_new(sizes, tensors, NULL);
}

EXPORT("stack_free") void stack_free(ncodec_stack *stack) { ncodec_stack_free(stack); }

EXPORT("stack_run")
int stack_run(
    const ncodec_stack *stack, const float *condition, float *past, const float *rows, int n,
    float *found)
{
    return ncodec_stack_run(stack, condition, past, rows, n, found);
}
#else
typedef int ncodec_no_wasm;
#endif
