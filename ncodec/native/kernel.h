/* The integer transformer and its range coder, whole packets at a time: formats/PAYLOADS.md,
 * sections 2 and 4, which define every number here.
 *
 * C11 and nothing else: no file, no thread, no output. One context belongs to one thread at a
 * time; a model is only read, by any number of threads. All counts are checked by the caller but
 * where a function says otherwise.
 *
 * Q codebooks of K codes, D width, H heads, W window, S streams, F frames.
 */
#ifndef NCODEC_KERNEL_H
#define NCODEC_KERNEL_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int32_t n_codebooks, codebook_size, width, n_layers, n_heads, window, hidden, head_hidden;
} ncodec_sizes;

typedef struct ncodec_model ncodec_model;
typedef struct ncodec_context ncodec_context;

/* The names of the processor's instructions that the kernel can use here, the best first, ending
 * with NULL; "plain" is always among them. */
const char *const *ncodec_paths(void);

/* Bytes of the tensors of a model, or 0 for sizes that no model can have. */
size_t ncodec_model_bytes(const ncodec_sizes *sizes);

/* A model of tensors one after another, in the order of PAYLOADS.md's table, each matrix followed
 * by its shifts, 32-bit numbers little-endian: `ncodec_model_bytes` in all. `path` is one of
 * `ncodec_paths`. NULL without memory, or where a shift is out of its range. */
ncodec_model *ncodec_model_new(const ncodec_sizes *sizes, const uint8_t *tensors, const char *path);
void ncodec_model_free(ncodec_model *model);

/* What the past of `n_packets` packets side by side leaves, of S streams each, of which the first
 * `n_q` codebooks are coded. `ahead` is the number of frames that are handled in one pass: 1 to
 * decode, up to NCODEC_ROWS / S to encode. NULL without memory. */
#define NCODEC_ROWS 64
ncodec_context *ncodec_context_new(
    const ncodec_model *model, int n_packets, int n_streams, int n_q, int ahead);
void ncodec_context_free(ncodec_context *context);

/* Start again, as before a key packet. */
void ncodec_context_reset(ncodec_context *context);

/* Decode packets side by side, in order of falling length; the context goes on with them.
 *
 * payloads[i], n_bytes[i], n_frames[i]   of each packet
 * codes[i]                               [F, S, n_q] of each packet, in coding order
 * failed[i]                              -1, or after how many codes no symbol fits
 */
void ncodec_decode(
    ncodec_context *context, int n_packets, const uint8_t *const *payloads, const size_t *n_bytes,
    const int *n_frames, int32_t *const *codes, int64_t *failed);

/* Encode one packet of codes [F, S, n_q], which must lie in [0, K); the context goes on with it.
 * Returns the number of bytes written: `payload` has room for 3 a code and 16 more. */
size_t ncodec_encode(
    ncodec_context *context, const int32_t *codes, int n_frames, uint8_t *payload);

/* Write h [F, S, D] of a packet's codes [F, S, n_q]; the context goes on with it. */
void ncodec_hidden(ncodec_context *context, const int32_t *codes, int n_frames, float *hidden);

/* Write the logits [n, K] of codebook q for rows [n, D]: h, and the vectors of the codes before. */
void ncodec_logits(ncodec_context *context, int q, const float *rows, int n, float *logits);

#endif
