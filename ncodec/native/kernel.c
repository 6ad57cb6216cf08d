/* Models and contexts: memory, and which instructions are used. */
#include "internal.h"
#include "libc.h"

#if defined(NCODEC_ARM) && defined(__linux__)
#include <sys/auxv.h>
#endif

enum { MAX_CODEBOOKS = 128, MAX_SIZE = 4096, MAX_WIDTH = 512, MAX_LAYERS = 64, MAX_WINDOW = 256 };
enum { MAX_HIDDEN = 1 << 16, MAX_SHIFT = 20, STREAM_UNIT = 8, SQUARE_UNIT = 3 };

const paths *ncodec_path(const char *name)
{
    const paths *found = NULL;
    const paths *all[4];
    int n = 0;
#ifdef NCODEC_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        all[n++] = &ncodec_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        all[n++] = &ncodec_avx2;
#endif
#ifdef NCODEC_ARM
#if defined(__linux__)
    if (getauxval(AT_HWCAP) & (1 << 20)) /* ASIMDDP */
        all[n++] = &ncodec_dot;
#elif defined(__APPLE__)
    all[n++] = &ncodec_dot;
#endif
#endif
    all[n++] = &ncodec_plain;
    for (int i = n - 1; i >= 0; i--)
        if (!name || !strcmp(name, all[i]->name))
            found = all[i];
    return found;
}

const char *const *ncodec_paths(void)
{
    static const char *const known[] = {"avx512", "avx2", "dot", "plain"};
    static const char *names[5];
    int n = 0;
    for (int i = 0; i < 4; i++)
        if (ncodec_path(known[i]))
            names[n++] = known[i];
    names[n] = NULL;
    return names;
}

static int are_possible(const ncodec_sizes *s)
{
    return s->n_codebooks >= 1 && s->n_codebooks <= MAX_CODEBOOKS && s->codebook_size >= 2
        && s->codebook_size <= MAX_SIZE && s->width >= 1 && s->width <= MAX_WIDTH
        && s->n_layers >= 1 && s->n_layers <= MAX_LAYERS && s->n_heads >= 1
        && s->n_heads <= s->width && s->width % s->n_heads == 0 && s->window >= 1
        && s->window <= MAX_WINDOW && s->hidden >= 1 && s->hidden <= MAX_HIDDEN
        && s->head_hidden >= 1 && s->head_hidden <= MAX_HIDDEN;
}

size_t ncodec_model_bytes(const ncodec_sizes *s)
{
    if (!are_possible(s))
        return 0;
    size_t q = s->n_codebooks, k = s->codebook_size, d = s->width, m = s->hidden;
    size_t p = s->head_hidden, each = 0;
    each += 3 * d * (d + 1) + 4 * (size_t)s->n_heads * s->window + d * (d + 1);
    each += m * (d + 1) + d * (m + 1);
    return q * (k * d + 1) + 4 * q * d + s->n_layers * each + d * (d + 1) + q * p * (d + 1)
        + q * (k * p + 1) + 4 * q * k;
}

/* Reads numbers of the tensors one after another. */
typedef struct {
    const uint8_t *at;
    int failed;
} reader;

static const int8_t *bytes_of(reader *from, size_t n)
{
    const int8_t *found = (const int8_t *)from->at;
    from->at += n;
    return found;
}

static int32_t *words_of(reader *from, size_t n)
{
    int32_t *found = malloc(n * sizeof *found);
    if (!found) {
        from->failed = 1;
        from->at += 4 * n;
        return NULL;
    }
    for (size_t i = 0; i < n; i++, from->at += 4)
        found[i] = (int32_t)((uint32_t)from->at[0] | (uint32_t)from->at[1] << 8
                             | (uint32_t)from->at[2] << 16 | (uint32_t)from->at[3] << 24);
    return found;
}

static float power_of_two(int n)
{
    float found = 1;
    for (; n > 0; n--)
        found *= 2;
    for (; n < 0; n++)
        found /= 2;
    return found;
}

int ncodec_arrange(matrix *to, int n_out, int n_in, const int8_t *rows)
{
    to->n_out = n_out;
    to->n_in = n_in;
    to->n_blocks = round_up(n_out, LANES) / LANES;
    to->n_quads = round_up(n_in, QUAD) / QUAD;
    const size_t n_lanes = (size_t)to->n_blocks * LANES;
    to->weights = calloc(n_lanes * to->n_quads, QUAD);
    to->offset = calloc(n_lanes, sizeof *to->offset);
    if (!to->weights || !to->offset)
        return -1;
    for (int o = 0; o < n_out; o++) {
        int8_t *block = to->weights + (size_t)(o / LANES) * to->n_quads * LANES * QUAD;
        for (int i = 0; i < n_in; i++) {
            const int8_t weight = rows[(size_t)o * n_in + i];
            block[((i / QUAD) * LANES + o % LANES) * QUAD + i % QUAD] = weight;
            to->offset[o] += 128 * weight;
        }
    }
    return 0;
}

void ncodec_drop(matrix *of)
{
    free(of->weights);
    free(of->offset);
    free(of->scale);
}

/* Read a matrix without its shifts. */
static void read_weights(reader *from, matrix *to, int n_out, int n_in)
{
    const int8_t *rows = bytes_of(from, (size_t)n_out * n_in);
    for (size_t i = 0; i < (size_t)n_out * n_in; i++)
        from->failed |= rows[i] == -128;
    to->scale = calloc((size_t)round_up(n_out, LANES), sizeof *to->scale);
    from->failed |= !to->scale || ncodec_arrange(to, n_out, n_in, rows);
}

/* Read the shifts of a matrix whose products are scaled by 2**(unit - shift). */
static void read_scales(reader *from, matrix *to, int unit)
{
    const int8_t *shifts = bytes_of(from, to->n_out);
    for (int o = 0; o < to->n_out; o++) {
        if (shifts[o] < 0 || shifts[o] > MAX_SHIFT)
            from->failed = 1;
        else if (to->scale)
            to->scale[o] = power_of_two(unit - shifts[o]);
    }
}

static void read_matrix(reader *from, matrix *to, int n_out, int n_in, int unit)
{
    read_weights(from, to, n_out, n_in);
    read_scales(from, to, unit);
}

void ncodec_model_free(ncodec_model *model)
{
    if (!model)
        return;
    for (int n = 0; model->layers && n < model->sizes.n_layers; n++) {
        layer *each = &model->layers[n];
        ncodec_drop(&each->attend);
        ncodec_drop(&each->gather);
        ncodec_drop(&each->up);
        ncodec_drop(&each->down);
        free(each->distance);
    }
    for (int q = 0; model->heads && q < model->sizes.n_codebooks; q++) {
        ncodec_drop(&model->heads[q].up);
        ncodec_drop(&model->heads[q].out);
        free(model->heads[q].bias);
    }
    ncodec_drop(&model->frame);
    free(model->layers);
    free(model->heads);
    free(model->vectors);
    free(model->start);
    free(model);
}

/* The factor of a norm is that of the leading 9 bits t, R(2**17 / t), times that of their place. */
static void set_norm(ncodec_model *model)
{
    int target = 0; /* 2**target is the power of two nearest to 64 D / 3 by its logarithm */
    double wanted = 64.0 * model->sizes.width / 3;
    while (wanted * wanted > 2.0 * power_of_two(2 * target))
        target++;
    for (int i = 0; i < 256; i++)
        model->mantissas[i] = (float)((2 * (1 << 17) + 256 + i) / (2 * (256 + i)));
    for (int e = 0; e < 32; e++)
        model->exponents[e] = power_of_two(target - 9 - e);
}

ncodec_model *ncodec_model_new(const ncodec_sizes *sizes, const uint8_t *tensors, const char *path)
{
    const paths *run = ncodec_path(path);
    if (!run || !are_possible(sizes))
        return NULL;
    ncodec_model *model = calloc(1, sizeof *model);
    if (!model)
        return NULL;
    const int n_q = sizes->n_codebooks, k = sizes->codebook_size, d = sizes->width;
    reader from = {tensors, 0};
    model->sizes = *sizes;
    model->run = run;
    model->layers = calloc(sizes->n_layers, sizeof *model->layers);
    model->heads = calloc(n_q, sizeof *model->heads);
    model->vectors = calloc((size_t)n_q * k * d, sizeof *model->vectors);
    if (!model->layers || !model->heads || !model->vectors) {
        ncodec_model_free(model);
        return NULL;
    }
    const int8_t *vectors = bytes_of(&from, (size_t)n_q * k * d);
    const int8_t *shifts = bytes_of(&from, n_q);
    for (int q = 0; q < n_q; q++) {
        if (shifts[q] < 0 || shifts[q] > STREAM_UNIT) {
            from.failed = 1;
            continue;
        }
        for (size_t i = (size_t)q * k * d; i < (size_t)(q + 1) * k * d; i++)
            model->vectors[i] = vectors[i] * (1 << (STREAM_UNIT - shifts[q]));
    }
    model->start = words_of(&from, (size_t)n_q * d);
    for (int n = 0; n < sizes->n_layers; n++) {
        layer *each = &model->layers[n];
        read_matrix(&from, &each->attend, 3 * d, d, 0);
        each->distance = words_of(&from, (size_t)sizes->n_heads * sizes->window);
        read_matrix(&from, &each->gather, d, d, 4);
        read_matrix(&from, &each->up, sizes->hidden, d, 5);
        read_matrix(&from, &each->down, d, sizes->hidden, 5);
    }
    read_matrix(&from, &model->frame, d, d, 4);
    for (int q = 0; q < n_q; q++)
        read_weights(&from, &model->heads[q].up, sizes->head_hidden, d);
    for (int q = 0; q < n_q; q++)
        read_scales(&from, &model->heads[q].up, 5);
    for (int q = 0; q < n_q; q++)
        read_weights(&from, &model->heads[q].out, k, sizes->head_hidden);
    shifts = bytes_of(&from, n_q);
    for (int q = 0; q < n_q; q++) {
        if (shifts[q] < 0 || shifts[q] > MAX_SHIFT)
            from.failed = 1;
        model->heads[q].shift = SQUARE_UNIT + shifts[q];
        model->heads[q].unit = power_of_two(-model->heads[q].shift);
        model->heads[q].bias = words_of(&from, k);
    }
    set_norm(model);
    if (from.failed) {
        ncodec_model_free(model);
        return NULL;
    }
    return model;
}

static int larger(int a, int b) { return a > b ? a : b; }

ncodec_context *ncodec_context_new(
    const ncodec_model *model, int n_packets, int n_streams, int n_q, int ahead)
{
    const ncodec_sizes *s = &model->sizes;
    if (n_packets < 1 || n_streams < 1 || ahead < 1 || n_q < 1 || n_q > s->n_codebooks)
        return NULL;
    ncodec_context *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    size_t rings = (size_t)n_packets * n_streams;
    size_t rows = (size_t)larger((int)rings * ahead, NCODEC_ROWS);
    c->model = model;
    c->n_packets = n_packets;
    c->n_streams = n_streams;
    c->n_q = n_q;
    c->ahead = ahead;
    c->n_rings = (int)rings;
    c->n_slots = round_up(s->window + ahead - 1, LANES);
    c->key_width = round_up(s->width / s->n_heads, QUAD);
    c->value_width = round_up(s->width / s->n_heads, LANES);
    c->n_total = round_up(larger(larger(3 * s->width, s->hidden),
                                 larger(s->codebook_size, s->head_hidden)), LANES);
    c->n_inputs = round_up(larger(larger(s->width, s->hidden), s->head_hidden), QUAD);
    size_t slots = (size_t)s->n_layers * rings * c->n_slots;
    c->before = calloc(rings * s->width, sizeof *c->before);
    c->experts = calloc(rings * n_q, sizeof *c->experts);
    c->keys = calloc(slots * s->n_heads * c->key_width, 1);
    c->key_offsets = calloc(slots * s->n_heads, sizeof *c->key_offsets);
    c->values = calloc(slots * s->n_heads * c->value_width, 1);
    c->reach = calloc((size_t)s->n_layers * s->n_heads * 2 * c->n_slots, sizeof *c->reach);
    c->stream = calloc(rows * s->width, sizeof *c->stream);
    c->hidden = calloc(rows * s->width, sizeof *c->hidden);
    c->total = calloc(rows * c->n_total, sizeof *c->total);
    c->inputs = calloc(rows * c->n_inputs, 1);
    c->intervals = calloc(2 * rows * n_q, sizeof *c->intervals);
    if (!c->intervals || !c->before || !c->experts || !c->keys || !c->key_offsets || !c->values || !c->reach
        || !c->stream || !c->hidden || !c->total || !c->inputs) {
        ncodec_context_free(c);
        return NULL;
    }
    /* The present frame is in slot p, the one of slot i is (p - i) mod n frames back: seen from
     * place n - 1 - p of this table on, place i holds the distance of slot i. */
    const int n = c->n_slots;
    for (int l = 0; l < s->n_layers; l++)
        for (int h = 0; h < s->n_heads; h++)
            for (int i = 0; i < 2 * n; i++) {
                int back = (2 * n - 1 - i) % n;
                c->reach[((size_t)l * s->n_heads + h) * 2 * n + i] = back < s->window
                    ? model->layers[l].distance[h * s->window + back]
                    : -WHOLE;
            }
    ncodec_context_reset(c);
    return c;
}

void ncodec_context_free(ncodec_context *c)
{
    if (!c)
        return;
    free(c->before);
    free(c->experts);
    free(c->keys);
    free(c->key_offsets);
    free(c->values);
    free(c->reach);
    free(c->stream);
    free(c->hidden);
    free(c->total);
    free(c->inputs);
    free(c->intervals);
    free(c);
}

void ncodec_context_reset(ncodec_context *c)
{
    memset(c->before, 0, sizeof *c->before * c->n_rings * c->model->sizes.width);
    for (int i = 0; i < c->n_rings * c->n_q; i++) {
        c->experts[i].model = 31 << 10;
        c->experts[i].other = 1 << 10;
    }
    c->n_frames = 0; /* slots of frames that were not yet are left out */
}

void ncodec_decode(
    ncodec_context *context, int n_packets, const uint8_t *const *payloads, const size_t *n_bytes,
    const int *n_frames, int32_t *const *codes, int64_t *failed)
{
    context->model->run->decode(context, n_packets, payloads, n_bytes, n_frames, codes, failed);
}

size_t ncodec_encode(ncodec_context *context, const int32_t *codes, int n_frames, uint8_t *payload)
{
    return context->model->run->encode(context, codes, n_frames, payload);
}

void ncodec_hidden(ncodec_context *context, const int32_t *codes, int n_frames, float *hidden)
{
    context->model->run->hidden(context, codes, n_frames, hidden);
}

void ncodec_logits(ncodec_context *context, int q, const float *rows, int n, float *logits)
{
    context->model->run->logits(context, q, rows, n, logits);
}
