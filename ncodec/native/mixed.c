/* The mixed coder; names and numbers are those of formats/PAYLOADS.md, section 5. */
#include "mixed.h"
#include "libc.h"
#include "rangecoder.h"

enum { ALIKE, PLAIN, LEFT, BEFORE, INTER_CHANNEL, N_PREDICTORS };
enum { WINDOW = 1024, KEPT = WINDOW + 2, RING = 3 * WINDOW, MAX_CHANNELS = 1 << 13 };
enum { MOST_POINTS = 9, OF_LEFT = 2, OF_BEFORE = 3, OF_BEFORE_THAT = 3 };
enum { PLAIN_MASS = 8, EQUAL_MASS = 64, ALIKE_PRIOR_BITS = 9 };
enum { OCTAVE_BITS = 12, OCTAVE = 1 << OCTAVE_BITS, N_LEVELS = 21, FURTHEST = 15 * OCTAVE };
enum { WEIGHT_BITS = 16, WEIGHT = 1 << WEIGHT_BITS, MOST_WEIGHT = 8 * WEIGHT };
enum { SURE = 1 << 16, SURE_BITS = 3, RATE_BITS = 18, HIT_BITS = 4, MOST_BITS = 16 };
enum { TALLY_BITS = 16, TALLY = (1 << TALLY_BITS) - 1 };

struct ncodec_mixed {
    int n_streams, n_codebooks, n_channels, codebook_size, n_bits;
    int n_known;        /* frames of the history, WINDOW + 2 at most */
    int newest;         /* where it starts in each ring */
    uint16_t *rings;    /* [channel, RING]: newest frame first, from `newest` on */
    uint16_t *hits;     /* [channel, MOST_BITS] */
    int32_t weights[N_PREDICTORS][N_LEVELS];
    int32_t of_distance[WINDOW];             /* 2**17 / (32 + distance) */
    uint16_t equal[WINDOW], equal_before[WINDOW]; /* codes of a frame so far, of the one before */
    uint16_t points[WINDOW];
    uint16_t codes[WINDOW]; /* of the history, those that the bits so far leave, and of each */
    int32_t masses[WINDOW];
    uint64_t tallies[WINDOW]; /* one, and whether the code to the left and the one before are equal */
};

/* Where a packet is written, or read from: one of the two. */
typedef struct {
    range_encoder *to;
    range_decoder *from;
} direction;

ncodec_mixed *ncodec_mixed_new(int n_streams, int n_codebooks, int codebook_size)
{
    if (n_streams < 1 || n_codebooks < 1 || codebook_size < 2 || codebook_size > 1 << 16
        || n_streams > MAX_CHANNELS / n_codebooks)
        return NULL;
    ncodec_mixed *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->n_streams = n_streams;
    c->n_codebooks = n_codebooks;
    c->n_channels = n_streams * n_codebooks;
    c->codebook_size = codebook_size;
    while (1 << c->n_bits < codebook_size)
        c->n_bits++;
    c->rings = malloc((size_t)c->n_channels * RING * sizeof *c->rings);
    c->hits = malloc((size_t)c->n_channels * MOST_BITS * sizeof *c->hits);
    if (!c->rings || !c->hits) {
        ncodec_mixed_free(c);
        return NULL;
    }
    for (int d = 1; d <= WINDOW; d++)
        c->of_distance[d - 1] = (1 << 17) / (32 + d);
    ncodec_mixed_reset(c);
    return c;
}

void ncodec_mixed_free(ncodec_mixed *c)
{
    if (!c)
        return;
    free(c->rings);
    free(c->hits);
    free(c);
}

void ncodec_mixed_reset(ncodec_mixed *c)
{
    static const int32_t first[N_PREDICTORS] = {WEIGHT * 3 / 4, WEIGHT / 8, WEIGHT / 8, WEIGHT / 8, WEIGHT};
    c->n_known = 0;
    c->newest = RING;
    memset(c->equal, 0, sizeof c->equal);
    for (int p = 0; p < N_PREDICTORS; p++)
        for (int i = 0; i < N_LEVELS; i++)
            c->weights[p][i] = first[p];
    for (int i = 0; i < c->n_channels * MOST_BITS; i++)
        c->hits[i] = 1 << 15;
}

static int window_of(const ncodec_mixed *c) { return c->n_known < WINDOW ? c->n_known : WINDOW; }

/* log2(n) in 1 / OCTAVE, straight between whole powers. */
static int32_t octaves(uint32_t n)
{
#if defined(__GNUC__) || defined(__clang__)
    const int whole = 31 - __builtin_clz(n);
#else
    int whole = 0;
    while (n >> whole > 1)
        whole++;
#endif
    const uint32_t part = n - ((uint32_t)1 << whole);
    return (int32_t)((uint32_t)whole << OCTAVE_BITS)
        + (int32_t)(((uint64_t)part << OCTAVE_BITS) >> whole);
}

/* Set the codes of channel i in the history, and what they count by how alike the contexts are. */
static void weigh(ncodec_mixed *c, int i, const int32_t *frame)
{
    const int n = window_of(c), n_before = c->n_known - 1, n_before_that = c->n_known - 2;
    const uint16_t *restrict own = c->rings + (size_t)i * RING + c->newest;
    uint16_t *restrict points = c->points;
    uint64_t *restrict tallies = c->tallies;
    for (int k = 0; k < n; k++) {
        points[k] = c->equal[k] + c->equal_before[k];
        tallies[k] = 1;
    }
    if (i) {
        const uint16_t *restrict left = own - RING, code = (uint16_t)frame[i - 1];
        for (int k = 0; k < n; k++) {
            points[k] += left[k] == code ? OF_LEFT : 0;
            tallies[k] += (uint64_t)(left[k] == code) << TALLY_BITS;
        }
    }
    for (int k = 0; k < n && k < n_before; k++) {
        points[k] += own[k + 1] == own[0] ? OF_BEFORE : 0;
        tallies[k] += (uint64_t)(own[k + 1] == own[0]) << 2 * TALLY_BITS;
    }
    for (int k = 0; k < n && k < n_before_that; k++)
        points[k] += own[k + 2] == own[1] ? OF_BEFORE_THAT : 0;
    for (int k = 0; k < n; k++)
        c->masses[k] = c->of_distance[k] << (points[k] < MOST_POINTS ? points[k] : MOST_POINTS);
    memcpy(c->codes, own, n * sizeof *own);
}

/* What one predictor says of a bit, and where its weight is. */
typedef struct {
    int32_t *weight;
    int32_t octaves;
} evidence;

static evidence counted(int32_t *weights, uint32_t zeros, uint32_t ones, uint32_t prior)
{
    const int level = (octaves(zeros + ones + prior) - octaves(prior)) / (OCTAVE / 2);
    return (evidence){
        &weights[level < N_LEVELS ? level : N_LEVELS - 1],
        octaves(ones + prior) - octaves(zeros + prior)};
}

/* Code a bit, which is -1 before it is read. Returns it, or -1 where no symbol fits. */
static int code_bit(const direction *way, const evidence *heard, int n, int bit)
{
    int64_t sum = 0;
    for (int p = 0; p < n; p++)
        sum += (int64_t)*heard[p].weight * heard[p].octaves;
    sum >>= WEIGHT_BITS;
    const int likely = sum >= 0;
    const int32_t far = (int32_t)(likely ? sum : -sum), z = far < FURTHEST ? far : FURTHEST;
    int32_t row[2];
    row[likely] = SURE;
    row[!likely] = (2 * OCTAVE - z % OCTAVE) << SURE_BITS >> z / OCTAVE;
    const int32_t whole = row[0] + row[1];
    if (way->from)
        bit = read_symbol(way->from, row, 2, whole);
    else
        write_symbol(way->to, 2, bit, bit ? row[0] : 0, row[bit], whole);
    if (bit < 0)
        return -1;
    const int64_t missed = (int64_t)row[!bit] * SURE / whole;
    for (int p = 0; p < n; p++) {
        const int64_t by = (bit ? missed : -missed) * heard[p].octaves >> RATE_BITS;
        const int64_t weight = *heard[p].weight + by;
        *heard[p].weight = (int32_t)(weight < -MOST_WEIGHT ? -MOST_WEIGHT
                                     : weight > MOST_WEIGHT ? MOST_WEIGHT : weight);
    }
    return bit;
}

/* Drop what has another bit at b than the code; returns how much is left. */
static int keep(ncodec_mixed *c, int n, int b, int bit)
{
    int n_left = 0;
    for (int k = 0; k < n; k++) {
        const uint16_t code = c->codes[k];
        c->codes[n_left] = code;
        c->masses[n_left] = c->masses[k];
        c->tallies[n_left] = c->tallies[k];
        n_left += (code >> b & 1) == bit;
    }
    return n_left;
}

/* Set what the history, of which n frames are left, says of the bit at b. */
static void listen(ncodec_mixed *c, int n, int b, evidence *heard)
{
    uint32_t masses[2] = {0};
    uint64_t tallies[2] = {0};
    for (int k = 0; k < n; k++) {
        const uint32_t one = c->codes[k] >> b & 1;
        masses[0] += (uint32_t)c->masses[k];
        masses[1] += (0 - one) & (uint32_t)c->masses[k];
        tallies[0] += c->tallies[k];
        tallies[1] += (0 - (uint64_t)one) & c->tallies[k];
    }
    masses[0] -= masses[1];
    tallies[0] -= tallies[1];
    heard[ALIKE]
        = counted(c->weights[ALIKE], masses[0], masses[1], (uint32_t)1 << (b + ALIKE_PRIOR_BITS));
    for (int p = PLAIN; p <= BEFORE; p++) {
        const uint32_t mass = p == PLAIN ? PLAIN_MASS : EQUAL_MASS;
        const int at = (p - PLAIN) * TALLY_BITS;
        const uint32_t zeros = tallies[0] >> at & TALLY, ones = tallies[1] >> at & TALLY;
        heard[p] = counted(c->weights[p], mass * zeros, mass * ones, (uint32_t)1 << b);
    }
}

/* Code one code of channel i, bit by bit. Returns 0 where no symbol fits. */
static int code_one(ncodec_mixed *c, const direction *way, int i, int32_t *frame)
{
    const int is_second = i >= c->n_codebooks;
    const int32_t guess = is_second ? frame[i - c->n_codebooks] : 0;
    uint16_t *hits = c->hits + (size_t)i * MOST_BITS;
    int n = window_of(c);
    int32_t found = 0; /* the bits so far, and zeros */
    weigh(c, i, frame);
    for (int b = c->n_bits - 1; b >= 0; b--) {
        if ((found | 1 << b) >= c->codebook_size)
            continue; /* no code has a one here */
        evidence heard[N_PREDICTORS];
        listen(c, n, b, heard);
        const int guessed = guess >> b & 1, guesses = is_second && !((guess ^ found) >> (b + 1));
        if (guesses) {
            const int32_t sure = octaves(hits[b]) - octaves(SURE - hits[b]);
            heard[INTER_CHANNEL]
                = (evidence){&c->weights[INTER_CHANNEL][b], guessed ? sure : -sure};
        }
        const int bit = code_bit(way, heard, guesses ? N_PREDICTORS : INTER_CHANNEL,
                                 way->from ? -1 : frame[i] >> b & 1);
        if (bit < 0)
            return 0;
        if (guesses && bit == guessed)
            hits[b] += (SURE - hits[b]) >> HIT_BITS;
        else if (guesses)
            hits[b] -= hits[b] >> HIT_BITS;
        found |= bit << b;
        n = keep(c, n, b, bit);
    }
    if (way->from)
        frame[i] = found;
    return 1;
}

/* Add a frame of codes [channel] to the history. */
static void learn(ncodec_mixed *c, const int32_t *codes)
{
    const int n = c->n_known < KEPT ? c->n_known : KEPT;
    if (!c->newest) {
        for (int i = 0; i < c->n_channels; i++) {
            uint16_t *ring = c->rings + (size_t)i * RING;
            memcpy(ring + RING - n, ring, n * sizeof *ring);
        }
        c->newest = RING - n;
    }
    c->newest--;
    for (int i = 0; i < c->n_channels; i++)
        c->rings[(size_t)i * RING + c->newest] = (uint16_t)codes[i];
    c->n_known = n < KEPT ? n + 1 : KEPT;
}

static int64_t code_packet(ncodec_mixed *c, const direction *way, int n_frames, int32_t *codes)
{
    for (int f = 0; f < n_frames; f++) {
        int32_t *frame = codes + (size_t)f * c->n_channels;
        memcpy(c->equal_before, c->equal, sizeof c->equal);
        memset(c->equal, 0, sizeof c->equal);
        for (int i = 0; i < c->n_channels; i++) {
            if (!code_one(c, way, i, frame))
                return (int64_t)f * c->n_channels + i;
            const uint16_t *own = c->rings + (size_t)i * RING + c->newest;
            for (int k = 0; k < window_of(c); k++)
                c->equal[k] += own[k] == frame[i];
        }
        learn(c, frame);
    }
    return -1;
}

int64_t ncodec_mixed_decode(
    ncodec_mixed *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes)
{
    range_decoder from;
    start_reading(&from, payload, n_bytes);
    return code_packet(coder, &(direction){.from = &from}, n_frames, codes);
}

size_t ncodec_mixed_encode(
    ncodec_mixed *coder, const int32_t *codes, int n_frames, uint8_t *payload)
{
    range_encoder to = {payload, 0, 0, ~(uint64_t)0};
    code_packet(coder, &(direction){.to = &to}, n_frames, (int32_t *)codes); /* only read */
    finish_writing(&to);
    return to.n;
}
