/* Random models, codes and payloads through every path of the kernel, and the adaptive coder, for
 * the sanitizers to watch.
 *
 * fuzz SEED ROUNDS: exits with 1 where two paths differ or a packet does not come back. Prints a
 * hash of all codes for each coder, the same on every machine.
 */
#include "adaptive.h"
#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint32_t draw(uint32_t below) /* xorshift64*, Vigna 2016 */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1Du) >> 33) % below;
}

static void add_to_hash(uint64_t *hash, const int32_t *codes, size_t n) /* FNV-1a */
{
    for (size_t i = 0; i < n; i++)
        *hash = (*hash ^ (uint32_t)codes[i]) * 0x100000001B3u;
}

static void *room(size_t n)
{
    void *found = malloc(n ? n : 1);
    if (!found)
        exit(2);
    return found;
}

/* Tensors that a check of the model would let pass: small weights, shifts in range. */
static uint8_t *draw_tensors(const ncodec_sizes *s)
{
    uint8_t *tensors = room(ncodec_model_bytes(s)), *at = tensors;
#define SMALL(n, most)                                                                             \
    for (size_t i_ = 0, n_ = (size_t)(n); i_ < n_; i_++)                                           \
        *at++ = (uint8_t)((int)draw(2 * (most) + 1) - (most));
#define SHIFTS(n, low, high)                                                                       \
    for (size_t i_ = 0, n_ = (size_t)(n); i_ < n_; i_++)                                           \
        *at++ = (uint8_t)((low) + draw((high) - (low) + 1));
#define WORDS(n, most)                                                                             \
    for (size_t i_ = 0, n_ = (size_t)(n); i_ < n_; i_++) {                                         \
        uint32_t word_ = (uint32_t)((int)draw(2 * (most) + 1) - (most));                           \
        for (int b_ = 0; b_ < 4; b_++)                                                             \
            *at++ = (uint8_t)(word_ >> (8 * b_));                                                  \
    }
    const int d = s->width;
    SMALL(s->n_codebooks * s->codebook_size * d, 127)
    SHIFTS(s->n_codebooks, 0, 8)
    WORDS(s->n_codebooks * d, 32767)
    for (int n = 0; n < s->n_layers; n++) {
        SMALL(3 * d * d, 127)
        SHIFTS(3 * d, 4, 9)
        WORDS(s->n_heads * s->window, 4000)
        SMALL(d * d, 127)
        SHIFTS(d, 0, 9)
        SMALL(s->hidden * d, 127)
        SHIFTS(s->hidden, 4, 9)
        SMALL(d * s->hidden, 127)
        SHIFTS(d, 0, 9)
    }
    SMALL(d * d, 127)
    SHIFTS(d, 0, 9)
    SMALL(s->n_codebooks * s->head_hidden * d, 127)
    SHIFTS(s->n_codebooks * s->head_hidden, 4, 9)
    SMALL(s->n_codebooks * s->codebook_size * s->head_hidden, 127)
    SHIFTS(s->n_codebooks, 0, 20)
    WORDS(s->n_codebooks * s->codebook_size, 100000)
    if ((size_t)(at - tensors) != ncodec_model_bytes(s))
        exit(2);
    return tensors;
}

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static void transformer_round(uint64_t *hash)
{
    const int n_heads = 1 + (int)draw(4);
    const ncodec_sizes s = {
        .n_codebooks = 1 + (int)draw(4), .codebook_size = 2 + (int)draw(70),
        .width = n_heads * (1 + (int)draw(20)), .n_layers = 1 + (int)draw(3), .n_heads = n_heads,
        .window = 1 + (int)draw(20), .hidden = 1 + (int)draw(50), .head_hidden = 1 + (int)draw(40)};
    const int n_streams = 1 + (int)draw(3), n_q = 1 + (int)draw(s.n_codebooks);
    const int n_packets = 1 + (int)draw(5), each = n_streams * n_q;
    uint8_t *tensors = draw_tensors(&s);
    const uint8_t *payloads[5];
    size_t n_bytes[5];
    int n_frames[5];
    int32_t *first[5], *codes[5];
    int64_t failed_first[5], failed[5];
    for (int p = 0; p < n_packets; p++) {
        n_frames[p] = p ? (int)draw(n_frames[p - 1] + 1) : (int)draw(60);
        n_bytes[p] = draw(3 * n_frames[p] * each + 9);
        uint8_t *bytes = room(n_bytes[p]);
        for (size_t i = 0; i < n_bytes[p]; i++)
            bytes[i] = (uint8_t)draw(256);
        payloads[p] = bytes;
        first[p] = room(sizeof **first * n_frames[p] * each);
        codes[p] = room(sizeof **codes * n_frames[p] * each);
    }
    for (const char *const *path = ncodec_paths(); *path; path++) {
        ncodec_model *model = ncodec_model_new(&s, tensors, *path);
        ncodec_context *c = model ? ncodec_context_new(model, n_packets, n_streams, n_q, 1) : NULL;
        if (!c)
            fail("no model or context", *path);
        int32_t *const *to = path == ncodec_paths() ? first : codes;
        for (int p = 0; p < n_packets; p++)
            memset(to[p], 0, sizeof **to * n_frames[p] * each);
        ncodec_decode(c, n_packets, payloads, n_bytes, n_frames, to, to == first ? failed_first : failed);
        ncodec_context_free(c);
        for (int p = 0; to == first && p < n_packets; p++)
            add_to_hash(hash, first[p], (size_t)n_frames[p] * each);
        for (int p = 0; to == codes && p < n_packets; p++)
            if (failed[p] != failed_first[p]
                || memcmp(first[p], codes[p], sizeof **codes * n_frames[p] * each))
                fail("codes differ", *path);
        const int ahead = 1 + (int)draw(NCODEC_ROWS / n_streams);
        c = ncodec_context_new(model, 1, n_streams, n_q, ahead);
        ncodec_context *back = ncodec_context_new(model, 1, n_streams, n_q, 1);
        for (int p = 0; c && back && p < n_packets; p++) { /* the later ones are dependent */
            uint8_t *payload = room(3 * (size_t)n_frames[p] * each + 16);
            const size_t n = ncodec_encode(c, first[p], n_frames[p], payload);
            uint8_t *exact = room(n);
            const uint8_t *const one[] = {exact};
            int32_t *const out[] = {codes[p]};
            memcpy(exact, payload, n);
            ncodec_decode(back, 1, one, &n, &n_frames[p], out, failed);
            if (failed[0] >= 0 || memcmp(first[p], codes[p], sizeof **codes * n_frames[p] * each))
                fail("a packet does not come back", *path);
            free(payload);
            free(exact);
        }
        ncodec_context_free(c);
        ncodec_context_free(back);
        ncodec_model_free(model);
    }
    for (int p = 0; p < n_packets; p++) {
        free((void *)payloads[p]);
        free(first[p]);
        free(codes[p]);
    }
    free(tensors);
}

/* Packets of random bytes in a row, until one fails; what they hold is encoded and decoded again. */
static void adaptive_round(uint64_t *hash)
{
    const int n_streams = 1 + (int)draw(3), n_codebooks = 1 + (int)draw(3);
    const int size = 2 + (int)draw(draw(20) ? 40 : 2000), each = n_streams * n_codebooks;
    ncodec_adaptive *any = ncodec_adaptive_new(n_streams, n_codebooks, size);
    ncodec_adaptive *to = ncodec_adaptive_new(n_streams, n_codebooks, size);
    ncodec_adaptive *from = ncodec_adaptive_new(n_streams, n_codebooks, size);
    if (!any || !to || !from)
        fail("no coder", "adaptive");
    int64_t failed = -1;
    for (int n_packets = 1 + (int)draw(6); n_packets && failed < 0; n_packets--) {
        const int n_frames = (int)draw(draw(10) ? 60 : 3000 / each);
        size_t n = draw(3 * n_frames * each + 9);
        uint8_t *bytes = room(n), *payload = room(3 * (size_t)n_frames * each + 16);
        int32_t *codes = room(sizeof *codes * n_frames * each);
        int32_t *back = room(sizeof *back * n_frames * each);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)draw(256);
        memset(codes, 0, sizeof *codes * n_frames * each);
        failed = ncodec_adaptive_decode(any, bytes, n, n_frames, codes);
        for (int64_t i = failed; i >= 0 && i < (int64_t)n_frames * each; i++)
            codes[i] = 0;
        add_to_hash(hash, codes, (size_t)n_frames * each);
        n = ncodec_adaptive_encode(to, codes, n_frames, payload);
        uint8_t *exact = room(n);
        memcpy(exact, payload, n);
        if (ncodec_adaptive_decode(from, exact, n, n_frames, back) >= 0
            || memcmp(codes, back, sizeof *codes * n_frames * each))
            fail("a packet does not come back", "adaptive");
        free(bytes);
        free(payload);
        free(exact);
        free(codes);
        free(back);
    }
    ncodec_adaptive_free(any);
    ncodec_adaptive_free(to);
    ncodec_adaptive_free(from);
}

int main(int argc, char **argv)
{
    const int seed = argc > 1 ? atoi(argv[1]) : 1, n = argc > 2 ? atoi(argv[2]) : 100;
    uint64_t transformer = 0xCBF29CE484222325u, adaptive = transformer;
    for (int i = 0; i < n; i++) {
        state = 0x9E3779B97F4A7C15u + (uint64_t)seed * 1000003 + (uint64_t)i * 7919;
        transformer_round(&transformer);
        adaptive_round(&adaptive);
    }
    printf("%d rounds, %016llx, %016llx\n", n, (unsigned long long)transformer,
           (unsigned long long)adaptive);
    return 0;
}
