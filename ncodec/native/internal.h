/* What the parts of the kernel share. */
#ifndef NCODEC_INTERNAL_H
#define NCODEC_INTERNAL_H

#include <float.h>

#include "networks.h"

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "single precision must be computed in single precision"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS static inline __attribute__((always_inline))
#define PREFETCH(at) __builtin_prefetch(at)
#else
#define ALWAYS static inline
#define PREFETCH(at) ((void)(at))
#endif

/* Before a loop of a constant number of turns, `most` at most: sums of all then stay in registers. */
#if defined(__clang__)
#define UNROLL(most) _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL(most) UNROLL_PRAGMA(GCC unroll most)
#define UNROLL_PRAGMA(text) _Pragma(#text)
#else
#define UNROLL(most)
#endif

enum {
    LANES = NCODEC_LANES, /* outputs of a matrix that lie side by side */
    QUAD = 4,    /* inputs that one instruction adds up */
    LIMIT = 127,
    STREAM_LIMIT = 32767,
    ROOT_LIMIT = 2040,
    ROOM = 1 << 21,
    WHOLE = 1 << 24,
};

/* Weights in blocks of LANES outputs: [block][input / QUAD][output of block][QUAD]. */
typedef struct {
    int n_out, n_in, n_blocks, n_quads;
    int8_t *weights;
    int32_t *offset; /* 128 times the sum of each row: what unsigned inputs add */
    float *scale;    /* a power of two for each output */
} matrix;

typedef struct {
    matrix attend, gather, up, down;
    int32_t *distance; /* [H, W] */
} layer;

typedef struct {
    matrix up, out;
    int32_t *bias;
    int shift; /* logits have a unit of 2**-shift octaves */
    float unit; /* 2**-shift */
} head;

typedef struct paths paths;

struct ncodec_model {
    ncodec_sizes sizes;
    const paths *run;
    int32_t *vectors; /* [Q, K, D] */
    int32_t *start;   /* [Q, D] */
    layer *layers;
    matrix frame;
    head *heads;
    float mantissas[256]; /* of the norm, by the leading 9 bits of a sum */
    float exponents[32];  /* of the norm, by the place of the leading bit */
};

/* Weights of the model and of the code of the stream before, of one channel. */
typedef struct {
    int64_t model, other;
} expert;

/* What coding a symbol needs of its row. */
typedef struct {
    int32_t before, own, sum;
} interval;

struct ncodec_context {
    const ncodec_model *model;
    int n_packets, n_streams, n_q, ahead, n_rings;
    int n_slots, key_width, value_width; /* of a ring; of a head, in whole QUADs, in whole LANES */
    int64_t n_frames;        /* since the key packet's start */
    int32_t *before;         /* [ring, D]: the sum of the vectors of the last frame */
    expert *experts;         /* [ring, n_q] */
    int8_t *keys;            /* [layer, ring, H] blocks as a matrix has: outputs are slots */
    int32_t *key_offsets;    /* [layer, ring, H, slot] */
    int8_t *values;          /* [layer, ring, H, slot, value_width] */
    int32_t *reach;          /* [layer, H, 2 slots]: distances, by slots from the present one */
    /* room for one pass over rows */
    int32_t *stream, *hidden, *total; /* [row, D], [row, D], [row, outputs] */
    int8_t *inputs;                   /* [row, inputs] */
    interval *intervals;              /* [2, row, n_q]: as they are; coarser, see PAYLOADS.md */
    int n_total, n_inputs;
};

/* Weights of a product in single precision, in blocks: [block][input][output of block]. */
typedef struct {
    int n_out, n_in, n_blocks;
    float *weights, *bias;
} float_matrix;

struct ncodec_matrix {
    const paths *run;
    float_matrix of;
};

typedef struct {
    float *taps; /* [kernel, W] */
    float *bias, *norm_scale, *norm_shift, *scale;
    float_matrix expand, project;
} float_block;

struct ncodec_stack {
    const paths *run;
    ncodec_stack_sizes sizes;
    float_block *blocks;
    float *norm_scale, *norm_shift;
};

/* A codebook for a first look: vectors in 8 bits, times a scale each. */
typedef struct {
    matrix rough;
    /* [padded K]: minus half of a vector's energy, its length, that of what 8 bits take from it */
    float *bias, *lengths, *errors;
    float longest;
} codebook;

struct ncodec_codebooks {
    const paths *run;
    int n_codebooks, size, dim;
    codebook *books;
    float *vectors; /* [Q, K, padded D] */
};

enum { STACK_ROWS = 96, MOST_CODEBOOKS = 128 };

/* Beginnings of the codes of some frames, NCODEC_ROWS at most. */
typedef struct {
    float *residuals; /* [beam, padded D]: what they leave of the latents */
    int32_t *hidden;  /* [beam, width]: what the coder's heads take */
    float rates[NCODEC_ROWS]; /* bits so far */
} beams;

typedef struct {
    int32_t parent, code;
} search_step;

typedef struct {
    beams sides[2];     /* taken in turn from codebook to codebook */
    int8_t *inputs;     /* [beam, padded D]: residuals in 8 bits */
    int32_t *products;  /* [beam, padded K]: of the first look, then codes for the second */
    float *scores;      /* [beam, padded K]: bounds from above */
    search_step *steps; /* [codebook, beam] */
} search_room;

/* Make a matrix, but its scales, of rows [n_out, n_in] of -127 to 127; -1 without memory. */
int ncodec_arrange(matrix *to, int n_out, int n_in, const int8_t *rows);
void ncodec_drop(matrix *of);

/* The same functions, compiled for one set of instructions each. */
struct paths {
    const char *name;
    void (*decode)(
        ncodec_context *, int, const uint8_t *const *, const size_t *, const int *,
        int32_t *const *, int64_t *);
    size_t (*encode)(ncodec_context *, const int32_t *, int, uint8_t *);
    void (*hidden)(ncodec_context *, const int32_t *, int, float *);
    void (*logits)(ncodec_context *, int, const float *, int, float *);
    void (*product)(const float_matrix *, const float *, size_t, int, float *);
    void (*stack)(
        const ncodec_stack *, const float *, float *, const float *, int, float *, float *);
    void (*search)(
        const ncodec_codebooks *, ncodec_context *, const float *, const float *, const float *,
        int, int, int, int32_t *, search_room *);
};

/* The functions of the path of that name, NULL if it cannot be used here. */
const paths *ncodec_path(const char *name);

extern const paths ncodec_plain;
#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define NCODEC_X86
extern const paths ncodec_avx2, ncodec_avx512;
#endif
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define NCODEC_ARM
extern const paths ncodec_dot;
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SQUARE_ROOT(x) __builtin_sqrtf(x)
#else
#include <math.h>
#define SQUARE_ROOT(x) sqrtf(x)
#endif

static inline int round_up(int number, int unit) { return (number + unit - 1) / unit * unit; }

#endif
