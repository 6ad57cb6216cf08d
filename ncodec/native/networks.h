/* The networks of a codec in single precision: products, ConvNeXt blocks, the search for codes.
 *
 * A sum of a product is taken term by term, each by one fused multiplication and addition, so that
 * all paths but "plain" find the same numbers, whatever the number of rows of a call; "plain", for
 * processors without that instruction, rounds twice. All else is rounded the same way everywhere,
 * the search too, whose products are of LANES sums.
 *
 * Rows of outputs, and those of blocks, are padded to whole multiples of NCODEC_LANES with zeros.
 * All counts and lengths are checked by the caller. What is built is only read afterwards, by any
 * number of threads.
 */
#ifndef NCODEC_NETWORKS_H
#define NCODEC_NETWORKS_H

#include "kernel.h"

#define NCODEC_LANES 16

/* Numbers of a model file: of 4 bytes (float32) or 2 (float16) each. */
typedef struct {
    const void *at;
    int n_bytes;
} ncodec_numbers;

typedef struct ncodec_matrix ncodec_matrix;
typedef struct ncodec_stack ncodec_stack;
typedef struct ncodec_codebooks ncodec_codebooks;

/* A matrix of weights [n_out, n_in] and n_out biases, or none where `at` is NULL. The functions
 * that build return NULL without memory, or for a path that is not there. */
ncodec_matrix *ncodec_matrix_new(
    int n_out, int n_in, ncodec_numbers weights, ncodec_numbers biases, const char *path);
void ncodec_matrix_free(ncodec_matrix *matrix);

/* Write the products [n, padded n_out] of rows of n_in numbers, `step` apart from each other. */
void ncodec_product(const ncodec_matrix *matrix, const float *rows, size_t step, int n, float *found);

/* Causal ConvNeXt blocks: depthwise convolution, norm, two products with an activation between. */
typedef struct {
    int32_t width, n_blocks, kernel, hidden, activation; /* 0: GELU by tanh; 1: squared ReLU */
} ncodec_stack_sizes;

/* For each block nine tensors: depthwise [W, 1, kernel] and bias, norm's weight and bias, expand's
 * weight and bias, project's weight and bias, scale; then the weight and bias of the last norm. */
enum { NCODEC_TENSORS_OF_BLOCK = 9 };
ncodec_stack *ncodec_stack_new(
    const ncodec_stack_sizes *sizes, const ncodec_numbers *tensors, const char *path);
void ncodec_stack_free(ncodec_stack *stack);

/* Map padded rows [n, W] to padded rows [n, W]; `past` [blocks, kernel - 1, W] is updated.
 * `condition` [blocks, 2, W] or NULL: what is added to a scale of 1, and a shift, after each norm.
 * Returns 0, or -1 without memory. */
int ncodec_stack_run(
    const ncodec_stack *stack, const float *condition, float *past, const float *rows, int n,
    float *found);

/* Codebooks [Q, K, D] of a residual vector quantiser. */
ncodec_codebooks *ncodec_codebooks_new(
    int n_codebooks, int size, int dim, ncodec_numbers vectors, const char *path);
void ncodec_codebooks_free(ncodec_codebooks *books);

/* Write the codes [n, n_q] of latents [n, D], by a beam search of up to NCODEC_ROWS beams.
 *
 * A first look at a codebook, in 8 bits, bounds all scores; a second, in single precision, finds those
 * of the few codes that may be among the best. So the codes are those of a search that takes all.
 *
 * context, hidden, weights   NULL for the codes nearest to the latents. Else: an entropy coder's
 *                            context of the same path, whose room is used; [n, width] what its
 *                            trunk says of the frames; [n, n_q] what a bit is worth of half a
 *                            square error
 *
 * Returns 0, or -1 without memory. */
int ncodec_search(
    const ncodec_codebooks *books, ncodec_context *context, const float *latents,
    const float *hidden, const float *weights, int n, int n_q, int n_beams, int32_t *codes);

#endif
