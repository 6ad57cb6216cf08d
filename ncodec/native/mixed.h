/* The mixed coder, whole packets at a time: formats/PAYLOADS.md, sections 2 and 5.
 *
 * A coder is for one direction and one thread at a time, and keeps what packets leave to dependent
 * ones after them.
 *
 * S streams, Q codebooks of K codes of B bits, F frames.
 */
#ifndef NCODEC_MIXED_H
#define NCODEC_MIXED_H

#include <stddef.h>
#include <stdint.h>

typedef struct ncodec_mixed ncodec_mixed;

/* A coder before a key packet. NULL without memory, and where S Q is above 2**13 or K below 2 or
 * above 2**16. */
ncodec_mixed *ncodec_mixed_new(int n_streams, int n_codebooks, int codebook_size);
void ncodec_mixed_free(ncodec_mixed *coder);

/* Start again, as before a key packet. */
void ncodec_mixed_reset(ncodec_mixed *coder);

/* Decode a packet to codes [F, S, Q]. Returns -1, or how many codes come before one that no symbol
 * fits; then only a reset may follow. */
int64_t ncodec_mixed_decode(
    ncodec_mixed *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes);

/* Encode a packet of codes [F, S, Q], which must lie in [0, K). Returns the number of bytes
 * written: `payload` has room for 3 B a code and 16 more. */
size_t ncodec_mixed_encode(
    ncodec_mixed *coder, const int32_t *codes, int n_frames, uint8_t *payload);

#endif
