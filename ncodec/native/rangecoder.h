/* The range coder of formats/PAYLOADS.md, section 2, for whatever includes it. */
#ifndef NCODEC_RANGECODER_H
#define NCODEC_RANGECODER_H

#include "internal.h"

typedef struct {
    const uint8_t *at, *end;
    uint64_t value, range; /* point - low; range */
} range_decoder;

static uint64_t next_word(range_decoder *from)
{
    uint64_t word = 0;
    for (int i = 0; i < 4; i++)
        word = word << 8 | (from->at < from->end ? *from->at++ : 0);
    return word;
}

static void start_reading(range_decoder *from, const uint8_t *payload, size_t n_bytes)
{
    from->at = payload;
    from->end = payload + n_bytes;
    from->range = ~(uint64_t)0;
    from->value = next_word(from) << 32;
    from->value |= next_word(from);
}

ALWAYS uint32_t cumulated(int64_t sum, float scale, int symbol)
{
    return (uint32_t)((int32_t)((float)sum * scale) + symbol);
}

/* Return the next symbol of a row of frequencies and their sum, or -1. */
static int read_symbol(range_decoder *from, const int32_t *row, int n_codes, int64_t sum)
{
    const float scale = (float)(WHOLE - n_codes) / (float)sum;
    const uint64_t unit = from->range >> 24, quotient = from->value / unit;
    if (quotient >= WHOLE)
        return -1;
    int32_t before = 0; /* of the frequencies before the first code of a block */
    int symbol = 0;
    for (;;) { /* whole blocks, until the next one begins after the quotient */
        int32_t more = 0;
        if (symbol + LANES >= n_codes)
            break;
        for (int k = 0; k < LANES; k++)
            more += row[symbol + k];
        if (cumulated(before + more, scale, symbol + LANES) > quotient)
            break;
        before += more;
        symbol += LANES;
    }
    uint32_t first = cumulated(before, scale, symbol), next;
    for (;; symbol++, first = next) {
        before += row[symbol];
        next = symbol + 1 == n_codes ? WHOLE : cumulated(before, scale, symbol + 1);
        if (next > quotient)
            break;
    }
    from->value -= unit * first;
    from->range = unit * (next - first);
    if (from->range < (uint64_t)1 << 32) {
        from->range <<= 32;
        from->value = from->value << 32 | next_word(from);
    }
    return symbol;
}

typedef struct {
    uint8_t *bytes;
    size_t n;
    uint64_t low, range;
} range_encoder;

static void carry(range_encoder *to)
{
    for (size_t i = to->n; i-- > 0;)
        if (++to->bytes[i])
            break;
}

/* Write a symbol, of the sum before it, its own frequency and the sum of the row. */
static void write_symbol(
    range_encoder *to, int n_codes, int symbol, int64_t before, int64_t own, int64_t sum)
{
    const float scale = (float)(WHOLE - n_codes) / (float)sum;
    const uint32_t first = cumulated(before, scale, symbol);
    const uint32_t next
        = symbol + 1 == n_codes ? WHOLE : cumulated(before + own, scale, symbol + 1);
    const uint64_t unit = to->range >> 24, low = to->low + unit * first;
    if (low < to->low)
        carry(to);
    to->low = low;
    to->range = unit * (next - first);
    if (to->range < (uint64_t)1 << 32) {
        for (int i = 0; i < 4; i++)
            to->bytes[to->n++] = (uint8_t)(to->low >> (56 - 8 * i));
        to->low <<= 32;
        to->range <<= 32;
    }
}

/* Write the shortest number of [low, low + range), and leave out zeros at the end. */
static void finish_writing(range_encoder *to)
{
    const uint64_t word = ((uint64_t)1 << 32) - 1;
    if (to->low + word < to->low) { /* a number of no more bytes lies there, one carry further */
        carry(to);
    } else {
        const uint64_t end = to->low + to->range < to->low ? ~(uint64_t)0 : to->low + to->range - 1;
        for (int n = 0; n <= 4; n++) {
            const uint64_t below = n ? ((uint64_t)1 << (64 - 8 * n)) - 1 : ~(uint64_t)0;
            if (to->low + below < to->low && to->low)
                continue; /* rounded up, it would need a carry */
            const uint64_t value = (to->low + below) & ~below;
            if (value < to->low || value > end)
                continue;
            for (int i = 0; i < n; i++)
                to->bytes[to->n++] = (uint8_t)(value >> (56 - 8 * i));
            break;
        }
    }
    while (to->n && !to->bytes[to->n - 1])
        to->n--;
}

#endif
