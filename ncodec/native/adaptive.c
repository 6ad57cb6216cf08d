/* The adaptive coder; names and numbers are those of formats/PAYLOADS.md, section 3. */
#include "adaptive.h"
#include "libc.h"
#include "rangecoder.h"

enum { UNIFORM, LONG, SHORT, REPEAT, NEXT, INTER_CHANNEL, N_PREDICTORS };
enum { LONG_WINDOW = 2048, SHORT_WINDOW = 32, FIRST_BLOCKS_END = 16, BLOCK = 4 };
enum { UNIT = 1 << 10, WEIGHTS_LIMIT = 1 << 16, MASS = 1 << 21, MAX_PLACES = 1 << 21 };

/* Predictors of one channel: weights, and the mass that each gives where it holds, or per count. */
typedef struct {
    int64_t weights[N_PREDICTORS];
    int32_t masses[N_PREDICTORS];
} mixture;

struct ncodec_adaptive {
    int n_streams, n_codebooks, n_channels, codebook_size;
    int64_t n_frames;
    mixture *mixtures;     /* [channel] */
    uint16_t *last;        /* [channel]: the code of the last frame */
    uint16_t *recent;      /* [LONG_WINDOW, channel]: a ring of frames */
    uint16_t *next;        /* [channel, K] */
    uint16_t *long_counts; /* [channel, K] */
    uint8_t *short_counts; /* [channel, K] */
    int32_t *rows;         /* [channel, K]: the frequencies that all frames of a block share */
};

/* Where a packet is written, or read from: one of the two. */
typedef struct {
    range_encoder *to;
    range_decoder *from;
} direction;

ncodec_adaptive *ncodec_adaptive_new(int n_streams, int n_codebooks, int codebook_size)
{
    if (n_streams < 1 || n_codebooks < 1 || codebook_size < 2 || codebook_size > 1 << 16
        || n_streams > MAX_PLACES / codebook_size / n_codebooks)
        return NULL;
    ncodec_adaptive *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    const size_t n_channels = (size_t)n_streams * n_codebooks;
    const size_t n_places = n_channels * codebook_size;
    c->n_streams = n_streams;
    c->n_codebooks = n_codebooks;
    c->n_channels = (int)n_channels;
    c->codebook_size = codebook_size;
    c->mixtures = malloc(n_channels * sizeof *c->mixtures);
    c->last = malloc(n_channels * sizeof *c->last);
    c->recent = malloc(n_channels * LONG_WINDOW * sizeof *c->recent);
    c->next = malloc(n_places * sizeof *c->next);
    c->long_counts = malloc(n_places * sizeof *c->long_counts);
    c->short_counts = malloc(n_places * sizeof *c->short_counts);
    c->rows = malloc(n_places * sizeof *c->rows);
    if (!c->mixtures || !c->last || !c->recent || !c->next || !c->long_counts || !c->short_counts
        || !c->rows) {
        ncodec_adaptive_free(c);
        return NULL;
    }
    ncodec_adaptive_reset(c);
    return c;
}

void ncodec_adaptive_free(ncodec_adaptive *c)
{
    if (!c)
        return;
    free(c->mixtures);
    free(c->last);
    free(c->recent);
    free(c->next);
    free(c->long_counts);
    free(c->short_counts);
    free(c->rows);
    free(c);
}

void ncodec_adaptive_reset(ncodec_adaptive *c)
{
    static const mixture first = {{12 * UNIT, 2 * UNIT, UNIT, UNIT, UNIT, UNIT}, {0}};
    const size_t n_places = (size_t)c->n_channels * c->codebook_size;
    c->n_frames = 0; /* the ring has what was written since */
    memset(c->last, 0, c->n_channels * sizeof *c->last);
    memset(c->long_counts, 0, n_places * sizeof *c->long_counts);
    memset(c->short_counts, 0, n_places * sizeof *c->short_counts);
    for (int i = 0; i < c->n_channels; i++) {
        c->mixtures[i] = first;
        for (int k = 0; k < c->codebook_size; k++)
            c->next[(size_t)i * c->codebook_size + k] = (uint16_t)k;
    }
}

static int frames_of(const ncodec_adaptive *c, int window)
{
    return c->n_frames < window ? (int)c->n_frames : window;
}

/* Set masses and rows, which stand still in a block. */
static void start_block(ncodec_adaptive *c)
{
    const int n_codes = c->codebook_size, n_long = frames_of(c, LONG_WINDOW);
    const int n_short = frames_of(c, SHORT_WINDOW);
    const int divisors[N_PREDICTORS] = {n_codes, n_long, n_short, n_long > 0, n_long > 0, 1};
    for (int i = 0; i < c->n_channels; i++) {
        mixture *of = &c->mixtures[i];
        int64_t sum = 0;
        for (int p = 0; p < N_PREDICTORS; p++)
            sum += of->weights[p];
        for (int p = 0; p < N_PREDICTORS; p++)
            of->masses[p]
                = divisors[p] ? (int32_t)(of->weights[p] * MASS / (sum * divisors[p])) : 0;
        if (!of->masses[UNIFORM])
            of->masses[UNIFORM] = 1;
        if (i < c->n_codebooks)
            of->masses[INTER_CHANNEL] = 0;
        const int32_t uniform = of->masses[UNIFORM], m = of->masses[LONG], s = of->masses[SHORT];
        const uint16_t *restrict long_counts = c->long_counts + (size_t)i * n_codes;
        const uint8_t *restrict short_counts = c->short_counts + (size_t)i * n_codes;
        int32_t *restrict row = c->rows + (size_t)i * n_codes;
        for (int k = 0; k < n_codes; k++)
            row[k] = uniform + m * long_counts[k] + s * short_counts[k];
    }
}

/* Code one code of channel i, with `before` for that of the last frame and `same` for that of the
 * stream before. Returns 0 where no symbol fits. */
static int code_one(
    ncodec_adaptive *c, const direction *way, int i, int before, int same, int32_t *code)
{
    const int n_codes = c->codebook_size;
    const size_t place = (size_t)i * n_codes;
    int32_t *row = c->rows + place;
    mixture *of = &c->mixtures[i];
    const int32_t *masses = of->masses;
    const int guesses[N_PREDICTORS] = {[REPEAT] = before, c->next[place + before], same};
    int64_t sum = (int64_t)n_codes * masses[UNIFORM] + masses[LONG] * frames_of(c, LONG_WINDOW)
        + masses[SHORT] * frames_of(c, SHORT_WINDOW);
    for (int p = REPEAT; p < N_PREDICTORS; p++) {
        row[guesses[p]] += masses[p];
        sum += masses[p];
    }
    if (way->from) {
        *code = read_symbol(way->from, row, n_codes, sum);
    } else {
        int32_t less = 0;
        for (int k = 0; k < *code; k++)
            less += row[k];
        write_symbol(way->to, n_codes, *code, less, row[*code], sum);
    }
    if (*code < 0)
        return 0;
    const int64_t frequency = row[*code];
    int64_t shares[N_PREDICTORS] = {
        masses[UNIFORM], (int64_t)masses[LONG] * c->long_counts[place + *code],
        (int64_t)masses[SHORT] * c->short_counts[place + *code]};
    for (int p = REPEAT; p < N_PREDICTORS; p++) {
        shares[p] = *code == guesses[p] ? masses[p] : 0;
        row[guesses[p]] -= masses[p];
    }
    for (int p = 0; p < N_PREDICTORS; p++)
        of->weights[p] += UNIT * shares[p] / frequency;
    return 1;
}

/* Learn a frame of codes [channel]. */
static void learn(ncodec_adaptive *c, const int32_t *codes)
{
    uint16_t *slot = c->recent + c->n_frames % LONG_WINDOW * c->n_channels;
    const uint16_t *latter
        = c->recent + (c->n_frames + LONG_WINDOW - SHORT_WINDOW) % LONG_WINDOW * c->n_channels;
    for (int i = 0; i < c->n_channels; i++) {
        const size_t place = (size_t)i * c->codebook_size;
        const uint16_t code = (uint16_t)codes[i];
        if (c->n_frames)
            c->next[place + c->last[i]] = code;
        c->long_counts[place + code]++;
        c->short_counts[place + code]++;
        if (c->n_frames >= LONG_WINDOW)
            c->long_counts[place + slot[i]]--;
        if (c->n_frames >= SHORT_WINDOW)
            c->short_counts[place + latter[i]]--;
        slot[i] = c->last[i] = code;
    }
    c->n_frames++;
}

/* Code a block of frames [F, channel]. Returns -1, or after how many codes no symbol fits. */
static int code_block(ncodec_adaptive *c, const direction *way, int n_frames, int32_t *codes)
{
    start_block(c);
    for (int f = 0; f < n_frames; f++) {
        int32_t *frame = codes + (size_t)f * c->n_channels;
        for (int i = 0; i < c->n_channels; i++) {
            const int before = f ? (frame - c->n_channels)[i] : c->last[i];
            const int same = i < c->n_codebooks ? 0 : frame[i - c->n_codebooks];
            if (!code_one(c, way, i, before, same, &frame[i]))
                return f * c->n_channels + i / c->n_codebooks * c->n_codebooks;
        }
    }
    for (int i = 0; i < c->n_channels; i++) {
        int64_t sum = 0, *weights = c->mixtures[i].weights;
        for (int p = 0; p < N_PREDICTORS; p++)
            sum += weights[p];
        for (int p = 0; p < N_PREDICTORS && sum >= WEIGHTS_LIMIT; p++)
            weights[p] = weights[p] / 2 + 1;
    }
    for (int f = 0; f < n_frames; f++)
        learn(c, codes + (size_t)f * c->n_channels);
    return -1;
}

static int64_t code_packet(ncodec_adaptive *c, const direction *way, int n_frames, int32_t *codes)
{
    for (int f = 0; f < n_frames;) {
        const int block = c->n_frames < FIRST_BLOCKS_END ? 1 : BLOCK;
        const int n = n_frames - f < block ? n_frames - f : block;
        const int failed = code_block(c, way, n, codes + (size_t)f * c->n_channels);
        if (failed >= 0)
            return (int64_t)f * c->n_channels + failed;
        f += n;
    }
    return -1;
}

int64_t ncodec_adaptive_decode(
    ncodec_adaptive *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes)
{
    range_decoder from;
    start_reading(&from, payload, n_bytes);
    return code_packet(coder, &(direction){.from = &from}, n_frames, codes);
}

size_t ncodec_adaptive_encode(
    ncodec_adaptive *coder, const int32_t *codes, int n_frames, uint8_t *payload)
{
    range_encoder to = {payload, 0, 0, ~(uint64_t)0};
    code_packet(coder, &(direction){.to = &to}, n_frames, (int32_t *)codes); /* only read */
    finish_writing(&to);
    return to.n;
}
