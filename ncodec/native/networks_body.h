/* The networks, once for each set of instructions: included after body.h; see networks.h. */

/* ---- products in single precision ------------------------------------------------------------ */

#if defined(PATH_AVX512)
typedef __m512 floats;
enum { FLOATS = 16, ROWS_OF_TILE = 12, BLOCKS_OF_TILE = 2 };
#define LOAD(at) _mm512_loadu_ps(at)
#define STORE(at, value) _mm512_storeu_ps(at, value)
#define SPREAD(value) _mm512_set1_ps(value)
#define FUSED(a, b, sum) _mm512_fmadd_ps(a, b, sum)
#define ADD(a, b) _mm512_add_ps(a, b)
#elif defined(PATH_AVX2)
typedef __m256 floats;
enum { FLOATS = 8, ROWS_OF_TILE = 6, BLOCKS_OF_TILE = 1 };
#define LOAD(at) _mm256_loadu_ps(at)
#define STORE(at, value) _mm256_storeu_ps(at, value)
#define SPREAD(value) _mm256_set1_ps(value)
#define FUSED(a, b, sum) _mm256_fmadd_ps(a, b, sum)
#define ADD(a, b) _mm256_add_ps(a, b)
#elif defined(PATH_DOT)
typedef float32x4_t floats;
enum { FLOATS = 4, ROWS_OF_TILE = 6, BLOCKS_OF_TILE = 1 };
#define LOAD(at) vld1q_f32(at)
#define STORE(at, value) vst1q_f32(at, value)
#define SPREAD(value) vdupq_n_f32(value)
#define FUSED(a, b, sum) vfmaq_f32(sum, a, b)
#define ADD(a, b) vaddq_f32(a, b)
#elif defined(__GNUC__) || defined(__clang__)
typedef float floats __attribute__((vector_size(16)));
#if defined(__wasm__) /* whose engines keep no more sums in registers */
enum { FLOATS = 4, ROWS_OF_TILE = 2, BLOCKS_OF_TILE = 1 };
#else
enum { FLOATS = 4, ROWS_OF_TILE = 3, BLOCKS_OF_TILE = 1 };
#endif
ALWAYS floats LOAD(const float *at)
{
    floats found;
    memcpy(&found, at, sizeof found);
    return found;
}
#define STORE(at, value) memcpy(at, &(value), sizeof(floats))
#define SPREAD(value) ((floats){value, value, value, value})
#define FUSED(a, b, sum) ((a) * (b) + (sum))
#define ADD(a, b) ((a) + (b))
#else
typedef float floats;
enum { FLOATS = 1, ROWS_OF_TILE = 2, BLOCKS_OF_TILE = 1 };
#define LOAD(at) (*(at))
#define STORE(at, value) (*(at) = (value))
#define SPREAD(value) (value)
#define FUSED(a, b, sum) ((a) * (b) + (sum))
#define ADD(a, b) ((a) + (b))
#endif

enum { PARTS = LANES / FLOATS }; /* of a block's LANES outputs */

/* A tile: `n_rows` rows times `n_blocks` blocks, both constants where it is called; the terms from
 * input `first` to `end` are added to the sums so far, and after the last one the bias. */
ALWAYS void float_tile(
    const int n_rows, const int n_blocks, const float *weights, const float *bias, int n_in,
    int first, int end, const float *rows, size_t step, float *found, size_t found_step)
{
    floats sums[ROWS_OF_TILE][BLOCKS_OF_TILE * PARTS];
    UNROLL(12)
    for (int r = 0; r < n_rows; r++)
        UNROLL(16)
        for (int p = 0; p < n_blocks * PARTS; p++)
            sums[r][p] = first ? LOAD(found + r * found_step + p * FLOATS) : SPREAD(0.0f);
    for (int i = first; i < end; i++) {
        floats columns[BLOCKS_OF_TILE * PARTS];
        UNROLL(16)
        for (int p = 0; p < n_blocks * PARTS; p++)
            columns[p] = LOAD(
                weights + ((size_t)(p / PARTS) * n_in + i) * LANES + p % PARTS * FLOATS);
        UNROLL(12)
        for (int r = 0; r < n_rows; r++) {
            const floats input = SPREAD(rows[r * step + i]);
            UNROLL(16)
            for (int p = 0; p < n_blocks * PARTS; p++)
                sums[r][p] = FUSED(input, columns[p], sums[r][p]);
        }
    }
    UNROLL(12)
    for (int r = 0; r < n_rows; r++)
        UNROLL(16)
        for (int p = 0; p < n_blocks * PARTS; p++) {
            if (end == n_in)
                sums[r][p] = ADD(sums[r][p], LOAD(bias + p * FLOATS));
            STORE(found + r * found_step + p * FLOATS, sums[r][p]);
        }
}

ALWAYS void float_tiles(
    const int n_blocks, const float *weights, const float *bias, int n_in, int first, int end,
    const float *rows, size_t step, int n, float *found, size_t found_step)
{
    int r = 0;
#define TILES(count)                                                                               \
    for (; r + (count) <= n; r += (count))                                                         \
    float_tile((count), n_blocks, weights, bias, n_in, first, end, rows + r * step, step,          \
               found + r * found_step, found_step)
    TILES(ROWS_OF_TILE);
#if defined(PATH_AVX512)
    TILES(6);
#endif
    TILES(2);
    TILES(1);
#undef TILES
}

/* Inputs whose weights, of a tile's blocks, stay in the nearest cache from row to row. */
enum { INPUTS_AT_ONCE = 384 };

static void float_product(
    const float_matrix *m, const float *rows, size_t step, int n, float *found)
{
    const size_t found_step = (size_t)m->n_blocks * LANES;
    for (int first = 0, end; first < m->n_in; first = end) {
        end = first + INPUTS_AT_ONCE < m->n_in ? first + INPUTS_AT_ONCE : m->n_in;
        for (int b = 0; b < m->n_blocks;) {
            const float *weights = m->weights + (size_t)b * m->n_in * LANES;
            const float *bias = m->bias + b * LANES;
            float *at = found + b * LANES;
            if (b + BLOCKS_OF_TILE <= m->n_blocks) {
                float_tiles(BLOCKS_OF_TILE, weights, bias, m->n_in, first, end, rows, step, n, at,
                            found_step);
                b += BLOCKS_OF_TILE;
            } else {
                float_tiles(1, weights, bias, m->n_in, first, end, rows, step, n, at, found_step);
                b++;
            }
        }
    }
}

/* The sum of LANES numbers, in one order everywhere. */
ALWAYS float sum_of(float *lanes)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* ---- ConvNeXt blocks ------------------------------------------------------------------------- */

/* Write (row - mean) / deviation times a scale, plus a shift: [width], padded by zeros. */
static void normalise(
    const float *restrict row, int width, const float *restrict scale, const float *restrict shift,
    float *restrict found)
{
    const int step = round_up(width, LANES), whole = width / LANES * LANES;
    float sums[LANES] = {0}, squares[LANES] = {0};
    for (int i = 0; i < step; i += LANES)
        for (int l = 0; l < LANES; l++)
            sums[l] += row[i + l]; /* padding is zero */
    const float mean = sum_of(sums) / (float)width;
    for (int i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) {
            const float off = row[i + l] - mean;
            squares[l] += off * off;
        }
    for (int i = whole; i < width; i++) {
        const float off = row[i] - mean;
        squares[i - whole] += off * off;
    }
    const float factor = 1.0f / SQUARE_ROOT(sum_of(squares) / (float)width + 1e-5f);
    for (int i = 0; i < step; i++)
        found[i] = (row[i] - mean) * factor * scale[i] + shift[i];
}

/* 2**23 * 1.5: adding it to a small number leaves the nearest whole one in the low bits. */
static const float ROUNDER = 12582912.0f;

/* Gaussian error linear unit by tanh: x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x**3). */
static void gelu(float *restrict values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float x = values[i];
        float power = -2.302208198f * (x + 0.044715f * x * x * x); /* of 2: -2 log2(e) u */
        power = power > 126.0f ? 126.0f : power;
        power = power < -126.0f ? -126.0f : power;
        const float rounded = power + ROUNDER, rest = power - (rounded - ROUNDER);
        int32_t bits;
        memcpy(&bits, &rounded, sizeof bits);
        bits = (int32_t)((uint32_t)bits << 23) + (127 << 23);
        float whole; /* 2**rest by its series, up to ln(2)**7 / 7! */
        memcpy(&whole, &bits, sizeof whole);
        float part = 1.525273380405984e-5f;
        part = part * rest + 1.5403530393381608e-4f;
        part = part * rest + 1.3333558146428443e-3f;
        part = part * rest + 9.618129107628477e-3f;
        part = part * rest + 5.550410866482158e-2f;
        part = part * rest + 2.402265069591007e-1f;
        part = part * rest + 6.931471805599453e-1f;
        part = part * rest + 1.0f;
        values[i] = x / (1.0f + part * whole);
    }
}

static void squared_relu(float *restrict values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float x = values[i] > 0 ? values[i] : 0;
        values[i] = x * x;
    }
}

/* Rows [context + n, W] to rows [n, W]. */
static void run_block(
    const ncodec_stack *stack, const float_block *block, const float *condition, const float *rows,
    int n, float *found, float *room)
{
    const int width = stack->sizes.width, step = round_up(width, LANES);
    const int inner = round_up(stack->sizes.hidden, LANES), context = stack->sizes.kernel - 1;
    float *normed = room, *total = room + (size_t)STACK_ROWS * step;
    float *hidden = total + (size_t)STACK_ROWS * step;
    for (int first = 0; first < n; first += STACK_ROWS) {
        const int count = n - first < STACK_ROWS ? n - first : STACK_ROWS;
        for (int r = 0; r < count; r++) {
            float *restrict mixed = total + (size_t)r * step;
            float *restrict row = normed + (size_t)r * step;
            memcpy(mixed, block->bias, (size_t)step * sizeof *mixed);
            for (int tap = 0; tap <= context; tap++) {
                const float *restrict from = rows + (size_t)(first + r + tap) * step;
                const float *restrict weights = block->taps + (size_t)tap * step;
                for (int i = 0; i < step; i++)
                    mixed[i] += from[i] * weights[i];
            }
            normalise(mixed, width, block->norm_scale, block->norm_shift, row);
            if (condition)
                for (int i = 0; i < step; i++)
                    row[i] = row[i] * (1.0f + condition[i]) + condition[step + i];
        }
        float_product(&block->expand, normed, (size_t)step, count, hidden);
        if (stack->sizes.activation)
            squared_relu(hidden, (size_t)count * inner);
        else
            gelu(hidden, (size_t)count * inner);
        float_product(&block->project, hidden, (size_t)inner, count, total);
        for (int r = 0; r < count; r++) {
            const float *restrict from = rows + (size_t)(first + r + context) * step;
            const float *restrict more = total + (size_t)r * step;
            float *restrict to = found + (size_t)(first + r) * step;
            for (int i = 0; i < step; i++)
                to[i] = from[i] + block->scale[i] * more[i];
        }
    }
}

static void stack_run(
    const ncodec_stack *stack, const float *condition, float *past, const float *rows, int n,
    float *found, float *room)
{
    const int width = stack->sizes.width, step = round_up(width, LANES);
    const int context = stack->sizes.kernel - 1;
    const size_t before = (size_t)context * step, size = (size_t)n * step;
    float *from = room, *to = from + before + size, *rest = to + before + size;
    memcpy(from + before, rows, size * sizeof *rows);
    for (int b = 0; b < stack->sizes.n_blocks; b++, past += before) {
        memcpy(from, past, before * sizeof *past);
        memcpy(past, from + size, before * sizeof *past);
        const float *own = condition ? condition + (size_t)b * 2 * step : NULL;
        run_block(stack, &stack->blocks[b], own, from, n, to + before, rest);
        float *swapped = from;
        from = to;
        to = swapped;
    }
    for (int r = 0; r < n; r++)
        normalise(from + before + (size_t)r * step, width, stack->norm_scale, stack->norm_shift,
                  found + (size_t)r * step);
}

/* ---- the search for codes -------------------------------------------------------------------- */

/* The best ways to go on, the best first. */
typedef struct {
    int count;
    float scores[NCODEC_ROWS];
    int32_t places[NCODEC_ROWS];
} choice;

static void insert(choice *best, float score, int32_t place)
{
    int i = best->count - 1;
    for (; i > 0 && best->scores[i - 1] < score; i--) {
        best->scores[i] = best->scores[i - 1];
        best->places[i] = best->places[i - 1];
    }
    best->scores[i] = score;
    best->places[i] = place;
}

ALWAYS choice no_choice(int count)
{
    choice found = {.count = count};
    for (int i = 0; i < count; i++)
        found.scores[i] = -FLT_MAX, found.places[i] = i; /* also where no score is a number */
    return found;
}

ALWAYS void offer(choice *best, float score, int32_t place)
{
    if (score > best->scores[best->count - 1])
        insert(best, score, place);
}

/* log2 of a positive number, by the series of artanh. */
static float log2_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int exponent = (bits >> 23) - 127;
    bits = (bits & 0x7fffff) | 127 << 23;
    memcpy(&x, &bits, sizeof x);
    const double t = ((double)x - 1) / ((double)x + 1), square = t * t;
    double sum = 0;
    for (int n = 17; n > 0; n -= 2)
        sum = sum * square + 1.0 / n;
    return (float)(exponent + 2.8853900817779268 * t * sum);
}

/* 2**logit of a logit in units of 2**-shift, within exponents whose sum has room in a float32. */
ALWAYS float power_of(int32_t logit, int shift)
{
    enum { LOWEST = 20, MIDDLE = 127, HIGHEST = 230 };
    int32_t bits = logit + (MIDDLE << shift);
    bits = bits < LOWEST << shift ? LOWEST << shift : bits;
    bits = bits > HIGHEST << shift ? HIGHEST << shift : bits;
    bits = (int32_t)((uint32_t)bits << (23 - shift));
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* log2 of the sum of 2**logit, of logits in units of 2**-shift; powers are straight between whole
 * ones, as in the coder. */
static float log_sum(
    const int32_t *restrict logits, const int32_t *restrict bias, int size, int shift)
{
    float lanes[LANES] = {0};
    int k = 0;
    for (; k + LANES <= size; k += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += power_of(logits[k + l] + bias[k + l], shift);
    for (int l = 0; k + l < size; l++)
        lanes[l] += power_of(logits[k + l] + bias[k + l], shift);
    return log2_of(sum_of(lanes));
}

/* The product of two padded rows, rounded in the same way everywhere. */
ALWAYS float product_of(const float *row, const float *other, int step)
{
    float lanes[LANES] = {0};
    for (int i = 0; i < step; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += row[i + l] * other[i + l];
    return sum_of(lanes);
}

static float energy_of(const float *row, int step) { return product_of(row, row, step); }

/* ---- two looks at a codebook ---- */

/* What a beam adds to a code's product with its residual. */
typedef struct {
    const float *residual; /* [padded D] */
    const int32_t *logits; /* or NULL */
    float known, worth;    /* of the beam so far; of a logit */
} prospect;

/* A score from a product that its bias is part of, and from what bits are worth. Rounding keeps the
 * order of numbers, so a bound of the product gives one of the score. */
ALWAYS float score_of(float product, float bits, float known) { return known + (product + bits); }

/* A residual in 8 bits, r', times a scale. A product of it with a vector v' in 8 bits is off by
 * |v| |r - r'| + |r'| |v - v'| at most, by Cauchy and Schwarz, and by rounding. */
typedef struct {
    float scale, length, error; /* |r'|, |r - r'|: a little more */
} coarse;

static coarse coarsen(const codebook *of, const float *row, size_t step, int8_t *to)
{
    float peaks[LANES] = {0}, off[LANES] = {0}, size[LANES] = {0}, peak = 0;
    const float energy = energy_of(row, (int)step), length = SQUARE_ROOT(energy);
    for (size_t i = 0; i < step; i += LANES)
        for (int l = 0; l < LANES; l++) {
            const float magnitude = row[i + l] < 0 ? -row[i + l] : row[i + l];
            peaks[l] = magnitude > peaks[l] ? magnitude : peaks[l];
        }
    for (int l = 0; l < LANES; l++)
        peak = peaks[l] > peak ? peaks[l] : peak;
    memset(to, 0, step);
    if (!(energy < 1e30f)) /* also where it is no number: nothing is known */
        return (coarse){0, 0, FLT_MAX};
    coarse found = {.scale = peak > 1e-15f ? peak / LIMIT : 0};
    const float factor = found.scale ? LIMIT / peak : 0;
    for (size_t i = 0; i < step; i += LANES)
        for (int l = 0; l < LANES; l++) {
            const float whole = rounded(row[i + l] * factor), rough = whole * found.scale;
            to[i + l] = (int8_t)(int32_t)whole;
            off[l] += (row[i + l] - rough) * (row[i + l] - rough);
            size[l] += rough * rough;
        }
    found.length = 1.001f * SQUARE_ROOT(sum_of(size));
    found.error = 1.001f * SQUARE_ROOT(sum_of(off)) + 1e-15f
        + (float)(step + 16) * FLT_EPSILON * (length + of->longest);
    return found;
}

/* The first look, at the 8-bit products of one beam and of `n` codes, LANES at most, from number k
 * on: write the most that each may score, and put the least into the lanes where it is more. */
ALWAYS void look_at(
    const codebook *of, const coarse *row, const prospect *beam, const int32_t *bias,
    const int32_t *restrict products, int k, const int n, float *restrict most,
    float *restrict lanes)
{
    const float *restrict scales = of->rough.scale + k, *restrict biases = of->bias + k;
    const float *restrict lengths = of->lengths + k, *restrict errors = of->errors + k;
    float bits[LANES] = {0};
    if (beam->logits) {
        const int32_t *restrict logits = beam->logits + k, *restrict more = bias + k;
        for (int l = 0; l < n; l++)
            bits[l] = beam->worth * (float)(logits[l] + more[l]);
    }
    for (int l = 0; l < n; l++) {
        const float product = (float)products[l] * scales[l] * row->scale + biases[l];
        const float off = row->error * lengths[l] + row->length * errors[l];
        const float worst = score_of(product - off, bits[l], beam->known);
        most[l] = score_of(product + off, bits[l], beam->known);
        lanes[l] = worst > lanes[l] ? worst : lanes[l];
    }
}

static void look(
    const codebook *of, coarse row, prospect beam, const int32_t *bias, const int32_t *products,
    int size, float *most, choice *least)
{
    float lanes[LANES];
    for (int l = 0; l < LANES; l++)
        lanes[l] = -FLT_MAX;
    int k = 0;
    for (; k + LANES <= size; k += LANES)
        look_at(of, &row, &beam, bias, products + k, k, LANES, most + k, lanes);
    look_at(of, &row, &beam, bias, products + k, k, size - k, most + k, lanes);
    for (int l = 0; l < LANES; l++)
        offer(least, lanes[l], 0);
}

/* Which of LANES numbers are not below `least`: a bit each. */
ALWAYS uint32_t not_below(const float *at, float least)
{
    uint32_t found = 0;
#if defined(PATH_AVX512)
    found = _mm512_cmp_ps_mask(LOAD(at), SPREAD(least), _CMP_NLT_UQ);
#elif defined(PATH_AVX2)
    for (int l = 0; l < LANES; l += FLOATS)
        found |= (uint32_t)_mm256_movemask_ps(
                     _mm256_cmp_ps(LOAD(at + l), SPREAD(least), _CMP_NLT_UQ))
            << l;
#else
    for (int l = 0; l < LANES; l++)
        found |= (uint32_t) !(at[l] < least) << l;
#endif
    return found;
}

/* The second look: offer the codes of a beam that may score `least`; `codes` has room for all. */
static void look_again(
    const codebook *of, const float *vectors, int step, const prospect *beam, const int32_t *bias,
    const float *most, float least, int size, int32_t *codes, int32_t first, choice *best)
{
    int n = 0;
    for (int k = 0; k < size; k += LANES) {
        uint32_t left = not_below(most + k, least);
        if (size - k < LANES)
            left &= (1u << (size - k)) - 1;
        for (int code = k; left; code++, left >>= 1)
            if (left & 1) {
                codes[n++] = code;
                for (int i = 0; i < step; i += LANES)
                    PREFETCH(vectors + (size_t)code * step + i);
            }
    }
    for (int c = 0; c < n; c++) {
        const int code = codes[c];
        const float product = product_of(beam->residual, vectors + (size_t)code * step, step);
        float bits = 0;
        if (beam->logits)
            bits = beam->worth * (float)(beam->logits[code] + bias[code]);
        offer(best, score_of(product + of->bias[code], bits, beam->known), first + code);
    }
}

static void subtract(
    const float *restrict row, const float *restrict vector, int dim, float *restrict found)
{
    for (int d = 0; d < dim; d++)
        found[d] = row[d] - vector[d];
}

/* Extend the beams of `n` frames by codebook q: from one side of the room to the other. */
static int extend(
    const ncodec_codebooks *books, ncodec_context *c, const float *weights, int n, int n_q, int q,
    int kept, int n_beams, search_room *room)
{
    const int dim = round_up(books->dim, LANES), size = books->size;
    const int width = c ? c->model->sizes.width : 0, side = q % 2;
    const int scores_step = round_up(size, LANES);
    const codebook *book = &books->books[q];
    const float *vectors = books->vectors + (size_t)q * size * dim;
    beams *from = &room->sides[side], *to = &room->sides[!side];
    const head *of = c ? &c->model->heads[q] : NULL;
    const int32_t *bias = c ? of->bias : NULL;
    const float unit = c ? of->unit : 0;
    const int wanted = q == n_q - 1 ? 1 : n_beams;
    const int count = wanted < kept * size ? wanted : kept * size;
    coarse rows[NCODEC_ROWS];
    for (int row = 0; row < n * kept; row++)
        rows[row] = coarsen(book, from->residuals + (size_t)row * dim, (size_t)dim,
                            room->inputs + (size_t)row * dim);
    blocks_times(book->rough.weights, book->rough.offset, book->rough.n_blocks,
                 book->rough.n_quads, room->inputs, dim, n * kept, room->products, scores_step);
    if (c) {
        memcpy(c->stream, from->hidden, (size_t)n * kept * width * sizeof *c->stream);
        head_products(c, q, n * kept);
    }
    for (int f = 0; f < n; f++) {
        choice least = no_choice(count), best = no_choice(count);
        const float weight = weights ? weights[(size_t)f * n_q + q] : 0;
        float log_sums[NCODEC_ROWS];
        prospect beams[NCODEC_ROWS];
        for (int b = 0; b < kept; b++) {
            const int row = f * kept + b;
            const size_t at = (size_t)row * scores_step;
            const float *residual = from->residuals + (size_t)row * dim;
            const int32_t *logits = c ? c->total + (size_t)row * c->n_total : NULL;
            log_sums[b] = c ? log_sum(logits, bias, size, of->shift) : 0;
            const float spent = weight * (from->rates[row] + log_sums[b]);
            beams[b] = (prospect){residual, logits, -0.5f * energy_of(residual, dim) - spent,
                                  weight * unit};
            look(book, rows[row], beams[b], bias, room->products + at, size, room->scores + at,
                 &least);
        }
        for (int b = 0; b < kept; b++) {
            const size_t at = (size_t)(f * kept + b) * scores_step;
            look_again(book, vectors, dim, &beams[b], bias, room->scores + at,
                       least.scores[count - 1], size, room->products + at, b * size, &best);
        }
        for (int i = 0; i < count; i++) {
            const int parent = best.places[i] / size, code = best.places[i] % size;
            const int row = f * kept + parent, next = f * count + i;
            subtract(from->residuals + (size_t)row * dim,
                     vectors + (size_t)code * dim, dim,
                     to->residuals + (size_t)next * dim);
            to->rates[next] = from->rates[row];
            if (c) {
                const int32_t logit = c->total[(size_t)row * c->n_total + code] + of->bias[code];
                to->rates[next] += log_sums[parent] - (float)logit * unit;
                int32_t *hidden = to->hidden + (size_t)next * width;
                memcpy(hidden, from->hidden + (size_t)row * width, (size_t)width * sizeof *hidden);
                add_vector(c->model, q, code, hidden);
            }
            room->steps[q * NCODEC_ROWS + next] = (search_step){parent, code};
        }
    }
    return count;
}

static void search(
    const ncodec_codebooks *books, ncodec_context *c, const float *latents, const float *hidden,
    const float *weights, int n, int n_q, int n_beams, int32_t *codes, search_room *room)
{
    const int dim = round_up(books->dim, LANES), width = c ? c->model->sizes.width : 0;
    int counts[MOST_CODEBOOKS], kept = 1;
    beams *start = &room->sides[0];
    for (int f = 0; f < n; f++) {
        memcpy(start->residuals + (size_t)f * dim, latents + (size_t)f * books->dim,
               (size_t)books->dim * sizeof *latents);
        for (int i = 0; i < width; i++)
            start->hidden[(size_t)f * width + i] = (int32_t)hidden[(size_t)f * width + i];
        start->rates[f] = 0;
    }
    for (int q = 0; q < n_q; q++)
        counts[q] = kept = extend(books, c, weights, n, n_q, q, kept, n_beams, room);
    for (int f = 0; f < n; f++) { /* back along the parents, from the one beam that is left */
        int place = 0;
        for (int q = n_q - 1; q >= 0; q--) {
            const search_step *step = &room->steps[q * NCODEC_ROWS + f * counts[q] + place];
            codes[(size_t)f * n_q + q] = step->code;
            place = step->parent;
        }
    }
}
