/* Random models, codes and payloads through every path of the kernel, the adaptive and the mixed
 * coder, and random networks, for the sanitizers to watch.
 *
 * fuzz SEED ROUNDS: exits with 1 where two paths differ or a packet does not come back. Prints a
 * hash of all codes for each coder, and of what networks give, the same on every machine; a machine
 * that has only the path "plain" gives 0 for the networks.
 */
#include "adaptive.h"
#include "mixed.h"
#include "networks.h"

#include <math.h>
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

/* The same for the mixed coder. */
static void mixed_round(uint64_t *hash)
{
    const int n_streams = 1 + (int)draw(3), n_codebooks = 1 + (int)draw(3);
    const int size = 2 + (int)draw(draw(20) ? 40 : 2000), each = n_streams * n_codebooks;
    ncodec_mixed *any = ncodec_mixed_new(n_streams, n_codebooks, size);
    ncodec_mixed *to = ncodec_mixed_new(n_streams, n_codebooks, size);
    ncodec_mixed *from = ncodec_mixed_new(n_streams, n_codebooks, size);
    if (!any || !to || !from)
        fail("no coder", "mixed");
    size_t n_bits = 1;
    while (1 << n_bits < size)
        n_bits++;
    int64_t failed = -1;
    for (int n_packets = 1 + (int)draw(6); n_packets && failed < 0; n_packets--) {
        const int n_frames = (int)draw(draw(60) ? 40 : 3400);
        size_t n = draw(2 * n_frames * each + 9);
        uint8_t *bytes = room(n), *payload = room(3 * n_bits * n_frames * each + 16);
        int32_t *codes = room(sizeof *codes * n_frames * each);
        int32_t *back = room(sizeof *back * n_frames * each);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)draw(256);
        memset(codes, 0, sizeof *codes * n_frames * each);
        failed = ncodec_mixed_decode(any, bytes, n, n_frames, codes);
        for (int64_t i = failed; i >= 0 && i < (int64_t)n_frames * each; i++)
            codes[i] = 0;
        add_to_hash(hash, codes, (size_t)n_frames * each);
        n = ncodec_mixed_encode(to, codes, n_frames, payload);
        uint8_t *exact = room(n);
        memcpy(exact, payload, n);
        if (ncodec_mixed_decode(from, exact, n, n_frames, back) >= 0
            || memcmp(codes, back, sizeof *codes * n_frames * each))
            fail("a packet does not come back", "mixed");
        free(bytes);
        free(payload);
        free(exact);
        free(codes);
        free(back);
    }
    ncodec_mixed_free(any);
    ncodec_mixed_free(to);
    ncodec_mixed_free(from);
}

static float *draw_floats(size_t n, int is_wild)
{
    const float strange[] = {INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 1e-40f};
    float *found = room(n * sizeof *found);
    for (size_t i = 0; i < n; i++)
        found[i] = is_wild && !draw(20) ? strange[draw(6)] : ((int)draw(4001) - 2000) / 1000.0f;
    return found;
}

static int padded(int n) { return (n + NCODEC_LANES - 1) / NCODEC_LANES * NCODEC_LANES; }

/* Rows through blocks and a product to latents, whose codes are searched for with and without a
 * coder's bits. Wild numbers are only to do no harm. */
static void networks_round(uint64_t *hash)
{
    const int is_wild = !draw(4), conditioned = (int)draw(2), n = (int)draw(70);
    const ncodec_stack_sizes s = {
        .width = 1 + (int)draw(40), .n_blocks = 1 + (int)draw(3), .kernel = 1 + (int)draw(6),
        .hidden = 1 + (int)draw(50), .activation = (int)draw(2)};
    const ncodec_sizes coder = {
        .n_codebooks = 1 + (int)draw(3), .codebook_size = 2 + (int)draw(90), .width = 12,
        .n_layers = 1, .n_heads = 2, .window = 5, .hidden = 10, .head_hidden = 9};
    const int w = padded(s.width), dim = 1 + (int)draw(30), n_q = 1 + (int)draw(coder.n_codebooks);
    const int n_beams = 1 + (int)draw(NCODEC_ROWS);
    const size_t size[NCODEC_TENSORS_OF_BLOCK] = {
        s.width * s.kernel, s.width, s.width, s.width, s.hidden * s.width, s.hidden,
        s.width * s.hidden, s.width, s.width};
    ncodec_numbers tensors[3 * NCODEC_TENSORS_OF_BLOCK + 2];
    const int n_tensors = s.n_blocks * NCODEC_TENSORS_OF_BLOCK + 2;
    for (int i = 0; i < n_tensors; i++) {
        const size_t count = i < n_tensors - 2 ? size[i % NCODEC_TENSORS_OF_BLOCK] : (size_t)s.width;
        tensors[i] = (ncodec_numbers){draw_floats(count, is_wild), 4};
    }
    float *weights = draw_floats((size_t)dim * s.width, is_wild), *rows = room(4 * n * w);
    float *condition = draw_floats((size_t)s.n_blocks * 2 * w, is_wild);
    float *vectors = draw_floats((size_t)coder.n_codebooks * coder.codebook_size * dim, is_wild);
    float *worth = draw_floats((size_t)n * n_q, is_wild), *trunk = room(4 * n * coder.width);
    uint8_t *model_tensors = draw_tensors(&coder);
    for (int i = 0; i < n * w; i++)
        rows[i] = i % w < s.width ? ((int)draw(4001) - 2000) / 1000.0f : 0;
    for (int b = 0; b < 2 * s.n_blocks; b++)
        for (int i = s.width; i < w; i++)
            condition[b * w + i] = 0;
    for (int i = 0; i < n * coder.width; i++)
        trunk[i] = (float)((int)draw(4001) - 2000);
    const size_t n_past = (size_t)s.n_blocks * (s.kernel - 1) * w;
    float *past = room(4 * n_past), *found = room(4 * n * w), *wide = room(4 * n * padded(dim));
    float *latents = room(4 * n * dim), *first = room(4 * n * dim);
    int32_t *codes = room(4 * 2 * n * n_q), *first_codes = room(4 * 2 * n * n_q);
    for (const char *const *path = ncodec_paths(); *path; path++) {
        const int is_first = path == ncodec_paths(), is_plain = !strcmp(*path, "plain");
        ncodec_stack *stack = ncodec_stack_new(&s, tensors, *path);
        ncodec_matrix *matrix = ncodec_matrix_new(
            dim, s.width, (ncodec_numbers){weights, 4}, (ncodec_numbers){NULL, 4}, *path);
        ncodec_codebooks *books = ncodec_codebooks_new(
            coder.n_codebooks, coder.codebook_size, dim, (ncodec_numbers){vectors, 4}, *path);
        ncodec_model *model = ncodec_model_new(&coder, model_tensors, *path);
        ncodec_context *c = model ? ncodec_context_new(model, 1, 1, n_q, 1) : NULL;
        if (!stack || !matrix || !books || !c)
            fail("no networks", *path);
        memset(past, 0, 4 * n_past);
        const int cut = n / 3; /* in two calls, as a stream comes */
        const float *with = conditioned ? condition : NULL;
        if (ncodec_stack_run(stack, with, past, rows, cut, found)
            || ncodec_stack_run(stack, with, past, rows + cut * w, n - cut, found + cut * w))
            fail("no memory", *path);
        ncodec_product(matrix, found, (size_t)w, n, wide);
        for (int r = 0; r < n; r++)
            memcpy(latents + r * dim, wide + r * padded(dim), 4 * (size_t)dim);
        if (ncodec_search(books, NULL, latents, NULL, NULL, n, n_q, n_beams, codes)
            || ncodec_search(books, c, latents, trunk, worth, n, n_q, n_beams, codes + n * n_q))
            fail("no memory", *path);
        for (int i = 0; i < 2 * n * n_q; i++)
            if (codes[i] < 0 || codes[i] >= coder.codebook_size)
                fail("a code is out of range", *path);
        if (is_first) {
            memcpy(first, latents, 4 * (size_t)n * dim);
            memcpy(first_codes, codes, 4 * 2 * (size_t)n * n_q);
        } else if (!is_plain && !is_wild
                   && (memcmp(first, latents, 4 * (size_t)n * dim)
                       || memcmp(first_codes, codes, 4 * 2 * (size_t)n * n_q)))
            fail("networks differ", *path);
        if (is_first && !is_plain && !is_wild) {
            add_to_hash(hash, codes, 2 * (size_t)n * n_q);
            memcpy(codes, latents, 4 * (size_t)n * (dim < 2 * n_q ? dim : 2 * n_q));
            add_to_hash(hash, codes, (size_t)n * (dim < 2 * n_q ? dim : 2 * n_q));
        }
        ncodec_context_free(c);
        ncodec_model_free(model);
        ncodec_codebooks_free(books);
        ncodec_matrix_free(matrix);
        ncodec_stack_free(stack);
    }
    for (int i = 0; i < n_tensors; i++)
        free((void *)tensors[i].at);
    free(weights), free(rows), free(condition), free(vectors), free(worth), free(trunk);
    free(model_tensors), free(past), free(found), free(wide), free(latents), free(first);
    free(codes), free(first_codes);
}

int main(int argc, char **argv)
{
    const int seed = argc > 1 ? atoi(argv[1]) : 1, n = argc > 2 ? atoi(argv[2]) : 100;
    void (*const rounds[])(uint64_t *) = {transformer_round, adaptive_round, networks_round, mixed_round};
    uint64_t hashes[4] = {0xCBF29CE484222325u, 0xCBF29CE484222325u, 0, 0xCBF29CE484222325u};
    for (int i = 0; i < n; i++)
        for (int kind = 0; kind < 4; kind++) { /* each draws its own numbers, whatever paths it has */
            state = 0x9E3779B97F4A7C15u + (uint64_t)seed * 1000003 + (uint64_t)i * 7919;
            rounds[kind](&hashes[kind]);
        }
    printf("%d rounds", n);
    for (int kind = 0; kind < 4; kind++)
        printf(", %016llx", (unsigned long long)hashes[kind]);
    printf("\n");
    return 0;
}
