/* Matrices, blocks and codebooks: memory, and weights in the order that products take them. */
#include "internal.h"
#include "libc.h"

/* Numbers of a model file, one after another. */
static void convert(ncodec_numbers from, size_t first, size_t n, float *to)
{
    if (from.n_bytes == 4) {
        memcpy(to, (const float *)from.at + first, n * sizeof *to);
        return;
    }
    const uint16_t *halves = (const uint16_t *)from.at + first;
    for (size_t i = 0; i < n; i++) {
        const uint32_t half = halves[i], rest = (half & 0x7fff) << 13;
        float value;
        memcpy(&value, &rest, sizeof value);
        value *= 5.192296858534828e33f; /* 2**112: the exponents' zeros lie so far apart */
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits |= (half & 0x8000) << 16;
        bits |= (half & 0x7c00) == 0x7c00 ? 0x7f800000 : 0; /* infinite, or no number */
        memcpy(&to[i], &bits, sizeof bits);
    }
}

static float *padded(ncodec_numbers from, int n)
{
    float *to = calloc((size_t)round_up(n, LANES), sizeof *to);
    if (to && from.at)
        convert(from, 0, (size_t)n, to);
    return to;
}

/* Blocks of LANES outputs: [block][input][output of block]. */
static int pack(
    float_matrix *to, int n_out, int n_in, ncodec_numbers weights, ncodec_numbers biases)
{
    to->n_out = n_out;
    to->n_in = n_in;
    to->n_blocks = round_up(n_out, LANES) / LANES;
    to->weights = calloc((size_t)to->n_blocks * n_in * LANES, sizeof(float));
    to->bias = padded(biases, n_out);
    float *row = malloc((size_t)n_in * sizeof *row);
    if (!to->weights || !to->bias || !row) {
        free(row);
        return -1;
    }
    for (int o = 0; o < n_out; o++) {
        float *at = to->weights + (size_t)(o / LANES) * n_in * LANES + o % LANES;
        convert(weights, (size_t)o * n_in, (size_t)n_in, row);
        for (int i = 0; i < n_in; i++)
            at[(size_t)i * LANES] = row[i];
    }
    free(row);
    return 0;
}

static void unpack(float_matrix *matrix)
{
    free(matrix->weights);
    free(matrix->bias);
}

ncodec_matrix *ncodec_matrix_new(
    int n_out, int n_in, ncodec_numbers weights, ncodec_numbers biases, const char *path)
{
    ncodec_matrix *matrix = calloc(1, sizeof *matrix);
    if (!matrix)
        return NULL;
    matrix->run = ncodec_path(path);
    if (!matrix->run || pack(&matrix->of, n_out, n_in, weights, biases)) {
        ncodec_matrix_free(matrix);
        return NULL;
    }
    return matrix;
}

void ncodec_matrix_free(ncodec_matrix *matrix)
{
    if (matrix)
        unpack(&matrix->of);
    free(matrix);
}

void ncodec_product(const ncodec_matrix *matrix, const float *rows, size_t step, int n, float *found)
{
    matrix->run->product(&matrix->of, rows, step, n, found);
}

static int read_block(float_block *to, const ncodec_stack_sizes *sizes, const ncodec_numbers *tensors)
{
    const int width = sizes->width, step = round_up(width, LANES), kernel = sizes->kernel;
    float *taps = padded(tensors[0], width * kernel);
    to->taps = calloc((size_t)kernel * step, sizeof(float));
    to->bias = padded(tensors[1], width);
    to->norm_scale = padded(tensors[2], width);
    to->norm_shift = padded(tensors[3], width);
    to->scale = padded(tensors[8], width);
    int failed = !taps || !to->taps || !to->bias || !to->norm_scale || !to->norm_shift || !to->scale;
    for (int i = 0; !failed && i < width * kernel; i++)
        to->taps[(size_t)(i % kernel) * step + i / kernel] = taps[i];
    free(taps);
    return failed || pack(&to->expand, sizes->hidden, width, tensors[4], tensors[5])
               || pack(&to->project, width, sizes->hidden, tensors[6], tensors[7])
               ? -1
               : 0;
}

ncodec_stack *ncodec_stack_new(
    const ncodec_stack_sizes *sizes, const ncodec_numbers *tensors, const char *path)
{
    ncodec_stack *stack = calloc(1, sizeof *stack);
    if (!stack)
        return NULL;
    stack->sizes = *sizes;
    stack->run = ncodec_path(path);
    stack->blocks = calloc((size_t)sizes->n_blocks, sizeof *stack->blocks);
    int failed = !stack->run || !stack->blocks;
    for (int b = 0; !failed && b < sizes->n_blocks; b++, tensors += NCODEC_TENSORS_OF_BLOCK)
        failed = read_block(&stack->blocks[b], sizes, tensors);
    if (!failed) {
        stack->norm_scale = padded(tensors[0], sizes->width);
        stack->norm_shift = padded(tensors[1], sizes->width);
        failed = !stack->norm_scale || !stack->norm_shift;
    }
    if (failed) {
        ncodec_stack_free(stack);
        return NULL;
    }
    return stack;
}

void ncodec_stack_free(ncodec_stack *stack)
{
    if (!stack)
        return;
    for (int b = 0; stack->blocks && b < stack->sizes.n_blocks; b++) {
        float_block *block = &stack->blocks[b];
        free(block->taps);
        free(block->bias);
        free(block->norm_scale);
        free(block->norm_shift);
        free(block->scale);
        unpack(&block->expand);
        unpack(&block->project);
    }
    free(stack->blocks);
    free(stack->norm_scale);
    free(stack->norm_shift);
    free(stack);
}

/* Pass `n` rows at most through all blocks. */
int ncodec_stack_run(
    const ncodec_stack *stack, const float *condition, float *past, const float *rows, int n,
    float *found)
{
    enum { AT_ONCE = 1024 };
    const int step = round_up(stack->sizes.width, LANES);
    const int inner = round_up(stack->sizes.hidden, LANES), some = n < AT_ONCE ? n : AT_ONCE;
    const size_t each = (size_t)(some + stack->sizes.kernel - 1) * step;
    float *room = malloc((2 * each + (size_t)STACK_ROWS * (2 * step + inner)) * sizeof *room);
    if (!room)
        return -1;
    for (int r = 0; r < n; r += AT_ONCE) {
        const int count = n - r < AT_ONCE ? n - r : AT_ONCE;
        stack->run->stack(
            stack, condition, past, rows + (size_t)r * step, count, found + (size_t)r * step, room);
    }
    free(room);
    return 0;
}

/* Write a vector in 8 bits; set what a codebook holds of it. */
static void read_vector(codebook *of, int k, const float *vector, int dim, int8_t *to)
{
    float peak = 0, energy = 0, lost = 0;
    for (int d = 0; d < dim; d++) {
        const float magnitude = vector[d] < 0 ? -vector[d] : vector[d];
        peak = magnitude > peak ? magnitude : peak;
        energy += vector[d] * vector[d];
    }
    const float scale = peak > 1e-15f && energy < 1e30f ? peak / LIMIT : 0;
    for (int d = 0; d < dim; d++) {
        const float share = scale ? vector[d] / scale : 0;
        to[d] = (int8_t)(share + (share < 0 ? -0.5f : 0.5f));
        const float off = vector[d] - scale * (float)to[d];
        lost += off * off;
    }
    of->bias[k] = -0.5f * energy;
    of->lengths[k] = 1.001f * SQUARE_ROOT(energy) + 1e-15f;
    of->errors[k] = 1.001f * SQUARE_ROOT(lost) + 1e-15f;
    of->rough.scale[k] = scale;
    of->longest = of->lengths[k] <= of->longest ? of->longest : of->lengths[k];
}

/* Vectors [K, padded D]; `rows` has room for [K, D]. */
static int read_codebook(codebook *to, const float *vectors, int size, int dim, int8_t *rows)
{
    const size_t room = (size_t)round_up(size, LANES), step = (size_t)round_up(dim, LANES);
    to->bias = calloc(room, sizeof(float));
    to->lengths = calloc(room, sizeof(float));
    to->errors = calloc(room, sizeof(float));
    to->rough.scale = calloc(room, sizeof(float));
    if (!to->bias || !to->lengths || !to->errors || !to->rough.scale)
        return -1;
    for (int k = 0; k < size; k++)
        read_vector(to, k, vectors + k * step, dim, rows + (size_t)k * dim);
    return ncodec_arrange(&to->rough, size, dim, rows);
}

ncodec_codebooks *ncodec_codebooks_new(
    int n_codebooks, int size, int dim, ncodec_numbers vectors, const char *path)
{
    ncodec_codebooks *books = calloc(1, sizeof *books);
    if (!books)
        return NULL;
    const size_t n = (size_t)n_codebooks * size, step = (size_t)round_up(dim, LANES);
    int8_t *rows = malloc((size_t)size * dim);
    books->run = ncodec_path(path);
    books->n_codebooks = n_codebooks;
    books->size = size;
    books->dim = dim;
    books->books = calloc((size_t)n_codebooks, sizeof *books->books);
    books->vectors = calloc(n * step, sizeof *books->vectors);
    int failed = !rows || !books->run || !books->books || !books->vectors;
    for (size_t k = 0; !failed && k < n; k++)
        convert(vectors, k * dim, (size_t)dim, books->vectors + k * step);
    for (int q = 0; !failed && q < n_codebooks; q++)
        failed = read_codebook(&books->books[q], books->vectors + q * size * step, size, dim, rows);
    free(rows);
    if (failed) {
        ncodec_codebooks_free(books);
        return NULL;
    }
    return books;
}

void ncodec_codebooks_free(ncodec_codebooks *books)
{
    if (!books)
        return;
    for (int q = 0; books->books && q < books->n_codebooks; q++) {
        ncodec_drop(&books->books[q].rough);
        free(books->books[q].bias);
        free(books->books[q].lengths);
        free(books->books[q].errors);
    }
    free(books->books);
    free(books->vectors);
    free(books);
}

int ncodec_search(
    const ncodec_codebooks *books, ncodec_context *context, const float *latents,
    const float *hidden, const float *weights, int n, int n_q, int n_beams, int32_t *codes)
{
    const int dim = round_up(books->dim, LANES), size = round_up(books->size, LANES);
    const int width = context ? context->model->sizes.width : 0, at_once = NCODEC_ROWS / n_beams;
    search_room room = {.scores = malloc((size_t)NCODEC_ROWS * size * sizeof(float))};
    room.products = malloc((size_t)NCODEC_ROWS * size * sizeof *room.products);
    room.inputs = malloc((size_t)NCODEC_ROWS * dim);
    room.steps = malloc((size_t)NCODEC_ROWS * n_q * sizeof *room.steps);
    int failed = !room.scores || !room.products || !room.inputs || !room.steps;
    for (int side = 0; side < 2; side++) {
        room.sides[side].residuals = calloc((size_t)NCODEC_ROWS * dim, sizeof(float));
        room.sides[side].hidden = malloc((size_t)NCODEC_ROWS * (width + 1) * sizeof(int32_t));
        failed |= !room.sides[side].residuals || !room.sides[side].hidden;
    }
    for (int f = 0; !failed && f < n; f += at_once) {
        const int count = n - f < at_once ? n - f : at_once;
        books->run->search(
            books, context, latents + (size_t)f * books->dim,
            hidden ? hidden + (size_t)f * width : NULL, weights ? weights + (size_t)f * n_q : NULL,
            count, n_q, n_beams, codes + (size_t)f * n_q, &room);
    }
    for (int side = 0; side < 2; side++) {
        free(room.sides[side].residuals);
        free(room.sides[side].hidden);
    }
    free(room.scores);
    free(room.products);
    free(room.inputs);
    free(room.steps);
    return failed ? -1 : 0;
}
