/* The adaptive coder, whole packets at a time: formats/PAYLOADS.md, sections 2 and 3.
 *
 * A coder is for one direction and one thread at a time, and keeps what packets leave to dependent
 * ones after them.
 *
 * S streams, Q codebooks of K codes, F frames.
 */
#ifndef NCODEC_ADAPTIVE_H
#define NCODEC_ADAPTIVE_H

#include <stddef.h>
#include <stdint.h>

typedef struct ncodec_adaptive ncodec_adaptive;

/* A coder before a key packet. NULL without memory, and where S Q K is above 2**21 or K below 2 or
 * above 2**16. */
ncodec_adaptive *ncodec_adaptive_new(int n_streams, int n_codebooks, int codebook_size);
void ncodec_adaptive_free(ncodec_adaptive *coder);

/* Start again, as before a key packet. */
void ncodec_adaptive_reset(ncodec_adaptive *coder);

/* Decode a packet to codes [F, S, Q]. Returns -1, or how many codes, in whole streams of a frame,
 * come before one that no symbol fits; then only a reset may follow. */
int64_t ncodec_adaptive_decode(
    ncodec_adaptive *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes);

/* Encode a packet of codes [F, S, Q], which must lie in [0, K). Returns the number of bytes
 * written: `payload` has room for 3 a code and 16 more. */
size_t ncodec_adaptive_encode(
    ncodec_adaptive *coder, const int32_t *codes, int n_frames, uint8_t *payload);

#endif
