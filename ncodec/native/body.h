/* All that is computed, once for each set of instructions: included by plain.c and the others. */
#include "internal.h"
#include "libc.h"
#include "rangecoder.h"

#if defined(PATH_AVX512)
#define PATHS ncodec_avx512
#define PATH_NAME "avx512"
#elif defined(PATH_AVX2)
#define PATHS ncodec_avx2
#define PATH_NAME "avx2"
#elif defined(PATH_DOT)
#define PATHS ncodec_dot
#define PATH_NAME "dot"
#else
#define PATHS ncodec_plain
#define PATH_NAME "plain"
#endif

/* ---- products of 8-bit numbers ---------------------------------------------------------------
 *
 * A tile is `n_rows` rows of inputs times `n_blocks` blocks of LANES outputs; both are constants
 * where it is called, so that its sums stay in registers. Inputs and weights are -127 to 127. */

#if defined(PATH_AVX512)

enum { TILE_ROWS = 8, TILE_BLOCKS = 4, TILE_SUMS = 16 };

ALWAYS void tile(
    const int n_rows, const int n_blocks, const int8_t *weights, const int32_t *offset, int n_quads,
    const int8_t *inputs, int input_step, int32_t *total, int total_step)
{
    __m512i sums[TILE_ROWS][TILE_BLOCKS];
    const __m512i sign = _mm512_set1_epi8((char)0x80);
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 4
        for (int b = 0; b < n_blocks; b++)
            sums[r][b] = _mm512_setzero_si512();
    for (int i = 0; i < n_quads; i++) {
        __m512i columns[TILE_BLOCKS];
#pragma GCC unroll 4
        for (int b = 0; b < n_blocks; b++)
            columns[b] = _mm512_loadu_si512(weights + ((size_t)b * n_quads + i) * LANES * QUAD);
#pragma GCC unroll 8
        for (int r = 0; r < n_rows; r++) {
            int32_t quad;
            memcpy(&quad, inputs + (size_t)r * input_step + QUAD * i, sizeof quad);
            const __m512i input = _mm512_xor_si512(_mm512_set1_epi32(quad), sign); /* + 128 */
#pragma GCC unroll 4
            for (int b = 0; b < n_blocks; b++)
                sums[r][b] = _mm512_dpbusd_epi32(sums[r][b], input, columns[b]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 4
        for (int b = 0; b < n_blocks; b++)
            _mm512_storeu_si512(
                total + (size_t)r * total_step + b * LANES,
                _mm512_sub_epi32(sums[r][b], _mm512_loadu_si512(offset + b * LANES)));
}

#elif defined(PATH_AVX2)

enum { TILE_ROWS = 4, TILE_BLOCKS = 2, TILE_SUMS = 4 };

ALWAYS void tile(
    const int n_rows, const int n_blocks, const int8_t *weights, const int32_t *offset, int n_quads,
    const int8_t *inputs, int input_step, int32_t *total, int total_step)
{
    __m256i sums[TILE_ROWS][2 * TILE_BLOCKS];
    const __m256i ones = _mm256_set1_epi16(1);
    (void)offset;
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 4
        for (int b = 0; b < 2 * n_blocks; b++)
            sums[r][b] = _mm256_setzero_si256();
    for (int i = 0; i < n_quads; i++) {
#pragma GCC unroll 4
        for (int r = 0; r < n_rows; r++) {
            int32_t quad;
            memcpy(&quad, inputs + (size_t)r * input_step + QUAD * i, sizeof quad);
            const __m256i input = _mm256_set1_epi32(quad);
            const __m256i magnitude = _mm256_abs_epi8(input);
#pragma GCC unroll 4
            for (int b = 0; b < 2 * n_blocks; b++) {
                const int8_t *at = weights + ((size_t)(b / 2) * n_quads + i) * LANES * QUAD;
                const __m256i column = _mm256_loadu_si256((const __m256i *)(at + 32 * (b % 2)));
                /* 2 * 127 * 127 still fits 16 bits */
                const __m256i pairs
                    = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(column, input));
                sums[r][b] = _mm256_add_epi32(sums[r][b], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 4
        for (int b = 0; b < 2 * n_blocks; b++)
            _mm256_storeu_si256((__m256i *)(total + (size_t)r * total_step + 8 * b), sums[r][b]);
}

#elif defined(PATH_DOT)

enum { TILE_ROWS = 4, TILE_BLOCKS = 1, TILE_SUMS = 4 };

ALWAYS void tile(
    const int n_rows, const int n_blocks, const int8_t *weights, const int32_t *offset, int n_quads,
    const int8_t *inputs, int input_step, int32_t *total, int total_step)
{
    int32x4_t sums[TILE_ROWS][4];
    (void)offset;
    (void)n_blocks;
    for (int r = 0; r < n_rows; r++)
        for (int b = 0; b < 4; b++)
            sums[r][b] = vdupq_n_s32(0);
    for (int i = 0; i < n_quads; i++)
        for (int r = 0; r < n_rows; r++) {
            int32_t quad;
            memcpy(&quad, inputs + (size_t)r * input_step + QUAD * i, sizeof quad);
            const int8x16_t input = vreinterpretq_s8_s32(vdupq_n_s32(quad));
            for (int b = 0; b < 4; b++)
                sums[r][b] = vdotq_s32(
                    sums[r][b], vld1q_s8(weights + (size_t)i * LANES * QUAD + 16 * b), input);
        }
    for (int r = 0; r < n_rows; r++)
        for (int b = 0; b < 4; b++)
            vst1q_s32(total + (size_t)r * total_step + 4 * b, sums[r][b]);
}

#elif defined(__wasm_simd128__)

enum { TILE_ROWS = 1, TILE_BLOCKS = 1, TILE_SUMS = 1 };

ALWAYS void tile(
    const int n_rows, const int n_blocks, const int8_t *weights, const int32_t *offset, int n_quads,
    const int8_t *inputs, int input_step, int32_t *total, int total_step)
{
    v128_t sums[LANES / 2]; /* of two outputs each, the halves of a quad apart */
    (void)n_rows, (void)n_blocks, (void)offset, (void)input_step, (void)total_step;
    for (int o = 0; o < LANES / 2; o++)
        sums[o] = wasm_i32x4_const_splat(0);
    for (int i = 0; i < n_quads; i++) {
        const v128_t input = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(inputs + QUAD * i));
        const int8_t *column = weights + (size_t)i * LANES * QUAD;
        for (int o = 0; o < LANES / 2; o++)
            sums[o] = wasm_i32x4_add(
                sums[o], wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(column + 8 * o), input));
    }
    for (int o = 0; o < LANES / 2; o += 2)
        wasm_v128_store(
            total + 2 * o, wasm_i32x4_add(wasm_i32x4_shuffle(sums[o], sums[o + 1], 0, 2, 4, 6),
                                          wasm_i32x4_shuffle(sums[o], sums[o + 1], 1, 3, 5, 7)));
}

#else

enum { TILE_ROWS = 1, TILE_BLOCKS = 1, TILE_SUMS = 1 };

ALWAYS void tile(
    const int n_rows, const int n_blocks, const int8_t *weights, const int32_t *offset, int n_quads,
    const int8_t *inputs, int input_step, int32_t *total, int total_step)
{
    int32_t sums[LANES] = {0};
    (void)n_rows, (void)n_blocks, (void)offset, (void)input_step, (void)total_step;
    for (int i = 0; i < n_quads; i++) {
        const int8_t *column = weights + (size_t)i * LANES * QUAD, *quad = inputs + QUAD * i;
        for (int o = 0; o < LANES; o++)
            for (int j = 0; j < QUAD; j++)
                sums[o] += column[o * QUAD + j] * quad[j];
    }
    memcpy(total, sums, sizeof sums);
}

#endif

/* Rows of one or some blocks; each product of a weight is used for as many rows as there are. */
ALWAYS void column_of_tiles(
    const int n_blocks, const int8_t *weights, const int32_t *offset, int n_quads,
    const int8_t *inputs, int input_step, int n_rows, int32_t *total, int total_step)
{
    const int most = TILE_ROWS * n_blocks <= TILE_SUMS ? TILE_ROWS : TILE_SUMS / n_blocks;
    int r = 0;
#define TILES(N)                                                                                   \
    if (N <= most)                                                                                 \
        for (; n_rows - r >= N; r += N)                                                            \
            tile(N, n_blocks, weights, offset, n_quads, inputs + (size_t)r * input_step,           \
                 input_step, total + (size_t)r * total_step, total_step);
    TILES(8)
    TILES(4)
    TILES(2)
    TILES(1)
#undef TILES
}

/* total[row, output] = sum over inputs of weight[output, input] input[row, input] */
static void blocks_times(
    const int8_t *weights, const int32_t *offset, int n_blocks, int n_quads, const int8_t *inputs,
    int input_step, int n_rows, int32_t *total, int total_step)
{
    const size_t block = (size_t)n_quads * LANES * QUAD;
    int b = 0;
    if (TILE_BLOCKS >= 4)
        for (; n_blocks - b >= 4; b += 4)
            column_of_tiles(4, weights + b * block, offset + b * LANES, n_quads, inputs, input_step,
                            n_rows, total + b * LANES, total_step);
    if (TILE_BLOCKS >= 2)
        for (; n_blocks - b >= 2; b += 2)
            column_of_tiles(2, weights + b * block, offset + b * LANES, n_quads, inputs, input_step,
                            n_rows, total + b * LANES, total_step);
    for (; n_blocks - b >= 1; b += 1)
        column_of_tiles(1, weights + b * block, offset + b * LANES, n_quads, inputs, input_step,
                        n_rows, total + b * LANES, total_step);
}

static void product(const ncodec_context *c, const matrix *of, int n_rows)
{
    blocks_times(of->weights, of->offset, of->n_blocks, of->n_quads, c->inputs, c->n_inputs, n_rows,
                 c->total, c->n_total);
}

/* ---- single numbers -------------------------------------------------------------------------- */

ALWAYS float limited(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* The nearest whole number, halves to the even one, of |x| < 2**22. */
ALWAYS float rounded(float x)
{
    const float magic = 12582912.0f; /* 1.5 2**23, where neighbours are one apart */
    return (x + magic) - magic;
}

ALWAYS float from_bits(int32_t bits)
{
    float found;
    memcpy(&found, &bits, sizeof found);
    return found;
}

ALWAYS int32_t to_bits(float number)
{
    int32_t found;
    memcpy(&found, &number, sizeof found);
    return found;
}

/* ---- the network ----------------------------------------------------------------------------- */

/* Write N(x) of rows of `stream` to the inputs. */
static void norm(const ncodec_context *c, const int32_t *stream, int n_rows)
{
    const int width = c->model->sizes.width;
    for (int r = 0; r < n_rows; r++) {
        const int32_t *restrict x = stream + (size_t)r * width;
        int8_t *restrict to = c->inputs + (size_t)r * c->n_inputs;
        int32_t sum = 0;
        for (int i = 0; i < width; i++)
            sum += x[i] < 0 ? -x[i] : x[i];
        sum = sum ? sum : 1;
        const int32_t bits = to_bits((float)sum); /* exact below 2**24 */
        const float factor = c->model->mantissas[(bits >> 15) & 255]
            * c->model->exponents[(bits >> 23) - 127];
        for (int i = 0; i < width; i++)
            to[i] = (int8_t)(int32_t)rounded(limited((float)x[i] * factor, -LIMIT, LIMIT));
        for (int i = width; i < round_up(width, QUAD); i++)
            to[i] = 0;
    }
}

/* Add a product to the stream. */
static void add(const ncodec_context *c, const matrix *of, int n_rows)
{
    const int width = c->model->sizes.width;
    const float *restrict scale = of->scale;
    for (int r = 0; r < n_rows; r++) {
        int32_t *restrict x = c->stream + (size_t)r * width;
        const int32_t *restrict total = c->total + (size_t)r * c->n_total;
        for (int i = 0; i < width; i++) {
            float more = limited(
                (float)total[i] * scale[i], -2 * STREAM_LIMIT, 2 * STREAM_LIMIT);
            int32_t sum = x[i] + (int32_t)rounded(more);
            sum = sum < -STREAM_LIMIT ? -STREAM_LIMIT : sum;
            x[i] = sum > STREAM_LIMIT ? STREAM_LIMIT : sum;
        }
    }
}

/* Turn products into the squares of what is positive, as inputs. */
static void square(const ncodec_context *c, const matrix *of, int n_rows)
{
    const int n = of->n_out;
    const float *restrict scale = of->scale;
    for (int r = 0; r < n_rows; r++) {
        const int32_t *restrict total = c->total + (size_t)r * c->n_total;
        int8_t *restrict to = c->inputs + (size_t)r * c->n_inputs;
        for (int i = 0; i < n; i++) {
            float root = rounded(limited((float)total[i] * scale[i], 0, ROOT_LIMIT));
            to[i] = (int8_t)(int32_t)rounded(root * root * (1.0f / (1 << 15)));
        }
        for (int i = n; i < round_up(n, QUAD); i++)
            to[i] = 0;
    }
}

/* Put the keys and values of a row into the ring's slot; its query stays, as 8-bit inputs. */
static void remember(const ncodec_context *c, int l, int ring, int slot, int row)
{
    const ncodec_sizes *s = &c->model->sizes;
    const matrix *of = &c->model->layers[l].attend;
    const int d = s->width, each = d / s->n_heads, n = c->n_slots, w = c->key_width;
    const int32_t *restrict total = c->total + (size_t)row * c->n_total;
    const float *restrict scale = of->scale;
    int8_t parts[3 * 512];
    for (int i = 0; i < 3 * d; i++)
        parts[i] = (int8_t)(int32_t)rounded(limited((float)total[i] * scale[i], -LIMIT, LIMIT));
    const size_t place = (size_t)l * c->n_rings + ring;
    for (int h = 0; h < s->n_heads; h++) {
        const int8_t *key = parts + d + h * each;
        int8_t *block = c->keys + (place * s->n_heads + h) * n * w
            + (size_t)(slot / LANES) * LANES * w + slot % LANES * QUAD;
        int32_t sum = 0;
        for (int i = 0; i < each; i++) {
            block[(i / QUAD) * LANES * QUAD + i % QUAD] = key[i];
            sum += key[i];
        }
        c->key_offsets[(place * s->n_heads + h) * n + slot] = 128 * sum;
        memcpy(c->values + ((place * s->n_heads + h) * n + slot) * c->value_width,
               parts + 2 * d + h * each, each);
    }
    memcpy(c->inputs + (size_t)row * c->n_inputs, parts, d);
}

/* Replace the query of a row by what attention finds. */
static void attend(const ncodec_context *c, int l, int ring, int64_t number, int row)
{
    const ncodec_sizes *s = &c->model->sizes;
    const int d = s->width, each = d / s->n_heads, n = c->n_slots, w = c->key_width;
    const int v = c->value_width, slot = (int)(number % n), seen = number < n ? slot + 1 : n;
    const int n_blocks = round_up(seen, LANES) / LANES;
    const size_t place = (size_t)l * c->n_rings + ring;
    int8_t *inputs = c->inputs + (size_t)row * c->n_inputs;
    int32_t scores[320 + LANES];
    float weights[320 + LANES];
    int16_t near[320 + LANES];
    for (int h = 0; h < s->n_heads; h++) {
        int8_t query[512];
        memset(query, 0, w);
        memcpy(query, inputs + h * each, each);
        const size_t which = place * s->n_heads + h;
        blocks_times(c->keys + which * n * w, c->key_offsets + which * n, n_blocks, w / QUAD, query,
                     w, 1, scores, 0);
        const int32_t *reach
            = c->reach + ((size_t)l * s->n_heads + h) * 2 * n + (n - 1 - slot);
        int32_t most = -WHOLE;
        for (int i = 0; i < seen; i++) {
            scores[i] += reach[i];
            most = scores[i] > most ? scores[i] : most;
        }
        for (int i = 0; i < seen; i++) {
            int32_t fall = scores[i] - most;
            fall = fall < -24 * 1024 ? -24 * 1024 : fall;
            weights[i] = rounded(from_bits(fall * (1 << 13) + ((127 + 8) << 23)));
        }
        int32_t sum = 0;
        int n_near = 0; /* slots of any weight, which are few */
        for (int i = 0; i < seen; i++) {
            sum += (int32_t)weights[i];
            near[n_near] = (int16_t)i;
            n_near += weights[i] != 0;
        }
        const int8_t *values = c->values + which * n * v;
        for (int j = 0; j < each; j += LANES) {
            float mixed[LANES] = {0};
            for (int i = 0; i < n_near; i++)
                for (int k = 0; k < LANES; k++)
                    mixed[k] += weights[near[i]] * values[(size_t)near[i] * v + j + k];
            for (int k = 0; k < LANES; k++)
                mixed[k] = rounded(mixed[k] / (float)sum);
            for (int k = 0; k < LANES && j + k < each; k++)
                inputs[h * each + j + k] = (int8_t)(int32_t)mixed[k];
        }
    }
    for (int i = d; i < round_up(d, QUAD); i++)
        inputs[i] = 0;
}

/* Map the stream of `n_frames` frames of the first `n_rings` rings, [F, ring, D], to h. */
static void advance(ncodec_context *c, int n_rings, int n_frames)
{
    const ncodec_model *model = c->model;
    const int width = model->sizes.width, n_rows = n_rings * n_frames;
    for (int l = 0; l < model->sizes.n_layers; l++) {
        const layer *each = &model->layers[l];
        norm(c, c->stream, n_rows);
        product(c, &each->attend, n_rows);
        for (int r = 0; r < n_rows; r++)
            remember(c, l, r % n_rings, (int)((c->n_frames + r / n_rings) % c->n_slots), r);
        for (int r = 0; r < n_rows; r++)
            attend(c, l, r % n_rings, c->n_frames + r / n_rings, r);
        product(c, &each->gather, n_rows);
        add(c, &each->gather, n_rows);
        norm(c, c->stream, n_rows);
        product(c, &each->up, n_rows);
        square(c, &each->up, n_rows);
        product(c, &each->down, n_rows);
        add(c, &each->down, n_rows);
    }
    norm(c, c->stream, n_rows);
    product(c, &model->frame, n_rows);
    for (int r = 0; r < n_rows; r++) {
        const int32_t *restrict total = c->total + (size_t)r * c->n_total;
        int32_t *restrict to = c->hidden + (size_t)r * width;
        for (int i = 0; i < width; i++)
            to[i] = (int32_t)rounded(limited(
                (float)total[i] * model->frame.scale[i], -STREAM_LIMIT, STREAM_LIMIT));
    }
    c->n_frames += n_frames;
}

/* Set a row of the stream, of the vectors of the frame before. */
static void begin_row(const ncodec_context *c, const int32_t *before, int row)
{
    const int width = c->model->sizes.width;
    const int32_t *start = c->model->start + (size_t)(c->n_q - 1) * width;
    int32_t *x = c->stream + (size_t)row * width;
    for (int i = 0; i < width; i++) {
        int32_t sum = before[i] + start[i];
        sum = sum < -STREAM_LIMIT ? -STREAM_LIMIT : sum;
        x[i] = sum > STREAM_LIMIT ? STREAM_LIMIT : sum;
    }
}

static void add_vector(const ncodec_model *model, int q, int32_t code, int32_t *to)
{
    const int width = model->sizes.width;
    const int32_t *vector = model->vectors + ((size_t)q * model->sizes.codebook_size + code) * width;
    for (int i = 0; i < width; i++)
        to[i] += vector[i];
}

/* Leave the logits of codebook q, of `n_rows` rows of the stream, as products; their bias is due. */
static void head_products(const ncodec_context *c, int q, int n_rows)
{
    const head *of = &c->model->heads[q];
    int32_t *x = c->stream;
    for (size_t i = 0; i < (size_t)n_rows * c->model->sizes.width; i++) {
        x[i] = x[i] < -STREAM_LIMIT ? -STREAM_LIMIT : x[i];
        x[i] = x[i] > STREAM_LIMIT ? STREAM_LIMIT : x[i];
    }
    norm(c, x, n_rows);
    product(c, &of->up, n_rows);
    square(c, &of->up, n_rows);
    product(c, &of->out, n_rows);
}

/* Turn a row of products [K] into frequencies, in place, and return their sum. */
static int64_t frequencies(const ncodec_model *model, int q, int32_t *restrict row)
{
    const head *of = &model->heads[q];
    const int n_codes = model->sizes.codebook_size, up = 23 - of->shift;
    int base = 23;
    for (int k = n_codes - 1; k; k >>= 1)
        base--;
    int32_t most = INT32_MIN;
    const int32_t *restrict bias = of->bias;
    for (int k = 0; k < n_codes; k++) {
        row[k] += bias[k];
        most = row[k] > most ? row[k] : most;
    }
    const int32_t lowest = -(24 << of->shift), one = (127 + base) << 23, unit = 1 << up;
    int32_t sum = 0;
    for (int k = 0; k < n_codes; k++) {
        int32_t fall = row[k] - most;
        fall = fall < lowest ? lowest : fall;
        row[k] = fall * unit + one; /* the bits of 2**base p(k) */
        sum += (int32_t)from_bits(row[k]);
    }
    const float room = (float)(ROOM - n_codes) / (float)(sum + n_codes);
    const float more = from_bits(to_bits(room) & 0x7F800000); /* 2**j */
    int32_t found = 0;
    for (int k = 0; k < n_codes; k++) {
        row[k] = 1 + (int32_t)(from_bits(row[k]) * more);
        found += row[k];
    }
    return found;
}

/* ---- the code of the stream before ----------------------------------------------------------- */

ALWAYS int is_sure(const expert *of) { return of->other > of->model; }

ALWAYS int64_t stake(const expert *of, int64_t sum)
{
    int64_t found = sum * of->other / of->model;
    return found < ROOM ? found : ROOM;
}

ALWAYS void learn(expert *of, int64_t earned)
{
    of->other += earned;
    of->model += 1024 - earned;
    if (of->model + of->other >= 1 << 16) {
        of->model = of->model / 2 + 1;
        of->other = of->other / 2 + 1;
    }
}

/* ---- packets --------------------------------------------------------------------------------- */

static void decode_frame(
    ncodec_context *c, int n_packets, int64_t number, range_decoder *from, int32_t *const *codes,
    int64_t *failed)
{
    const ncodec_model *model = c->model;
    const int width = model->sizes.width, n_codes = model->sizes.codebook_size;
    const int n_streams = c->n_streams, n_rings = n_packets * n_streams;
    const int64_t each = (int64_t)n_streams * c->n_q;
    for (int r = 0; r < n_rings; r++)
        begin_row(c, c->before + (size_t)r * width, r);
    advance(c, n_rings, 1);
    memset(c->before, 0, sizeof *c->before * n_rings * width);
    for (int s = 0; s < n_streams; s++)
        for (int q = 0; q < c->n_q; q++) {
            for (int p = 0; p < n_packets; p++) { /* h, and the vectors so far */
                const size_t ring = (size_t)p * n_streams + s;
                for (int i = 0; i < width; i++)
                    c->stream[(size_t)p * width + i]
                        = c->hidden[ring * width + i] + c->before[ring * width + i];
            }
            head_products(c, q, n_packets);
            for (int p = 0; p < n_packets; p++) {
                int32_t *row = c->total + (size_t)p * c->n_total;
                int32_t *frame = codes[p] + number * each;
                const int ring = p * n_streams + s;
                int code = 0;
                if (failed[p] < 0) {
                    int64_t sum = frequencies(model, q, row), bet = 0;
                    expert *know = &c->experts[(size_t)ring * c->n_q + q];
                    const int other = s ? frame[(s - 1) * c->n_q + q] : 0;
                    if (s) {
                        if (is_sure(know)) {
                            sum = 0;
                            for (int k = 0; k < n_codes; k++)
                                sum += row[k] = (row[k] >> 7) + 1;
                        }
                        bet = stake(know, sum);
                        row[other] += (int32_t)bet;
                        sum += bet;
                    }
                    code = read_symbol(&from[p], row, n_codes, sum);
                    if (code < 0) {
                        failed[p] = number * each + s * c->n_q + q;
                        code = 0;
                    } else if (s) {
                        learn(know, code == other ? 1024 * bet / row[code] : 0);
                    }
                }
                frame[s * c->n_q + q] = code;
                add_vector(model, q, code, c->before + (size_t)ring * width);
            }
        }
}

static void decode(
    ncodec_context *c, int n_packets, const uint8_t *const *payloads, const size_t *n_bytes,
    const int *n_frames, int32_t *const *codes, int64_t *failed)
{
    range_decoder from[NCODEC_ROWS];
    for (int p = 0; p < n_packets; p++) {
        start_reading(&from[p], payloads[p], n_bytes[p]);
        failed[p] = -1;
    }
    for (int number = 0; n_packets && number < n_frames[0]; number++) {
        int n_failed = 0;
        while (n_frames[n_packets - 1] <= number)
            n_packets--;
        for (int p = 0; p < n_packets; p++)
            n_failed += failed[p] >= 0;
        if (n_failed == n_packets)
            break;
        decode_frame(c, n_packets, number, from, codes, failed);
    }
}

static interval interval_of(const int32_t *row, int n_codes, int code)
{
    interval found = {0, row[code], 0};
    int32_t sum = 0;
    for (int k = 0; k < code; k++)
        sum += row[k];
    found.before = sum;
    for (int k = code; k < n_codes; k++)
        sum += row[k];
    found.sum = sum;
    return found;
}

/* h of some frames of codes [F, S, n_q]. */
static void known_frames(ncodec_context *c, const int32_t *codes, int n_frames)
{
    const int width = c->model->sizes.width, n_streams = c->n_streams;
    for (int f = 0; f < n_frames; f++)
        for (int s = 0; s < n_streams; s++) {
            int32_t *before = c->before + (size_t)s * width;
            const int32_t *own = codes + ((size_t)f * n_streams + s) * c->n_q;
            begin_row(c, before, f * n_streams + s);
            memset(before, 0, sizeof *before * width);
            for (int q = 0; q < c->n_q; q++)
                add_vector(c->model, q, own[q], before);
        }
    advance(c, n_streams, n_frames);
}

static void encode_frames(
    ncodec_context *c, const int32_t *codes, int n_frames, range_encoder *to)
{
    const ncodec_model *model = c->model;
    const int width = model->sizes.width, n_codes = model->sizes.codebook_size, n_q = c->n_q;
    const int n_streams = c->n_streams, n_rows = n_frames * n_streams;
    interval *plain = c->intervals, *coarse = plain + (size_t)n_rows * n_q;
    known_frames(c, codes, n_frames);
    for (int q = 0; q < n_q; q++) {
        memcpy(c->stream, c->hidden, sizeof *c->stream * n_rows * width);
        head_products(c, q, n_rows);
        for (int r = 0; r < n_rows; r++) {
            const int32_t code = codes[(size_t)r * n_q + q];
            int32_t *row = c->total + (size_t)r * c->n_total;
            frequencies(model, q, row);
            plain[(size_t)r * n_q + q] = interval_of(row, n_codes, code);
            if (r % n_streams) {
                for (int k = 0; k < n_codes; k++)
                    row[k] = (row[k] >> 7) + 1;
                coarse[(size_t)r * n_q + q] = interval_of(row, n_codes, code);
            }
            add_vector(model, q, code, c->hidden + (size_t)r * width);
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int q = 0; q < n_q; q++) {
            const int32_t code = codes[(size_t)r * n_q + q];
            expert *know = &c->experts[(size_t)(r % n_streams) * n_q + q];
            interval of = plain[(size_t)r * n_q + q];
            if (r % n_streams) {
                const int32_t other = codes[(size_t)(r - 1) * n_q + q];
                if (is_sure(know))
                    of = coarse[(size_t)r * n_q + q];
                const int64_t bet = stake(know, of.sum);
                of.before += other < code ? (int32_t)bet : 0;
                of.own += other == code ? (int32_t)bet : 0;
                of.sum += (int32_t)bet;
                learn(know, other == code ? 1024 * bet / of.own : 0);
            }
            write_symbol(to, n_codes, code, of.before, of.own, of.sum);
        }
}

static size_t encode(ncodec_context *c, const int32_t *codes, int n_frames, uint8_t *payload)
{
    range_encoder to = {payload, 0, 0, ~(uint64_t)0};
    const int each = c->n_streams * c->n_q;
    for (int f = 0; f < n_frames; f += c->ahead) {
        const int n = n_frames - f < c->ahead ? n_frames - f : c->ahead;
        encode_frames(c, codes + (size_t)f * each, n, &to);
    }
    finish_writing(&to);
    return to.n;
}

static void hidden(ncodec_context *c, const int32_t *codes, int n_frames, float *found)
{
    const int row = c->n_streams * c->model->sizes.width;
    for (int f = 0; f < n_frames; f += c->ahead) {
        const int n = n_frames - f < c->ahead ? n_frames - f : c->ahead;
        known_frames(c, codes + (size_t)f * c->n_streams * c->n_q, n);
        for (int i = 0; i < n * row; i++)
            found[(size_t)f * row + i] = (float)c->hidden[i];
    }
}

static void logits(ncodec_context *c, int q, const float *rows, int n, float *found)
{
    const int width = c->model->sizes.width, n_codes = c->model->sizes.codebook_size;
    const int32_t *bias = c->model->heads[q].bias;
    for (int r = 0; r < n; r += NCODEC_ROWS) {
        const int some = n - r < NCODEC_ROWS ? n - r : NCODEC_ROWS;
        for (int i = 0; i < some * width; i++)
            c->stream[i] = (int32_t)rows[(size_t)r * width + i];
        head_products(c, q, some);
        for (int i = 0; i < some; i++)
            for (int k = 0; k < n_codes; k++)
                found[(size_t)(r + i) * n_codes + k]
                    = (float)(c->total[(size_t)i * c->n_total + k] + bias[k]);
    }
}

#include "networks_body.h"

const paths PATHS = {PATH_NAME, decode, encode, hidden, logits, float_product, stack_run, search};
