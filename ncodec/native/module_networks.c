/* The networks for Python, by the stable ABI. Every count and length is checked here. */
#include "module.h"

#include <stdlib.h>

static const char MATRIX[] = "ncodec.native.matrix", STACK[] = "ncodec.native.stack";
static const char CODEBOOKS[] = "ncodec.native.codebooks";

enum { MOST = 1 << 16, MOST_BLOCKS = 256, MOST_CODEBOOKS = 128 };

typedef struct {
    void *of;
    int n_in, n_out;                                  /* of a matrix */
    ncodec_stack_sizes sizes;                         /* of a stack */
    int n_codebooks, size, dim;                       /* of codebooks */
} box;

static void drop_matrix(PyObject *capsule)
{
    box *held = PyCapsule_GetPointer(capsule, MATRIX);
    ncodec_matrix_free(held->of);
    free(held);
}

static void drop_stack(PyObject *capsule)
{
    box *held = PyCapsule_GetPointer(capsule, STACK);
    ncodec_stack_free(held->of);
    free(held);
}

static void drop_codebooks(PyObject *capsule)
{
    box *held = PyCapsule_GetPointer(capsule, CODEBOOKS);
    ncodec_codebooks_free(held->of);
    free(held);
}

/* A capsule that holds `of`, which is there. */
static PyObject *boxed(box what, const char *name, void (*drop)(PyObject *))
{
    box *held = malloc(sizeof *held);
    PyObject *capsule = NULL;
    if (held) {
        *held = what;
        capsule = PyCapsule_New(held, name, drop);
    }
    if (!capsule)
        free(held);
    return capsule ? capsule : held ? NULL : PyErr_NoMemory();
}

static Py_ssize_t padded(Py_ssize_t n)
{
    return (n + NCODEC_LANES - 1) / NCODEC_LANES * NCODEC_LANES;
}

/* Numbers of a buffer of `n` float16 or float32; -1 with an error set for none such. */
static int numbers_of(const Py_buffer *buffer, Py_ssize_t n, ncodec_numbers *found)
{
    found->at = buffer->buf;
    found->n_bytes = buffer->len == 2 * n ? 2 : 4;
    if (buffer->len == n * found->n_bytes)
        return 0;
    PyErr_Format(PyExc_ValueError, "tensor: expected %zd numbers, found %zd bytes", n, buffer->len);
    return -1;
}

static void *refused(const char *message)
{
    PyErr_SetString(PyExc_ValueError, message);
    return NULL;
}

static PyObject *new_matrix(PyObject *self, PyObject *args)
{
    (void)self;
    int n_out, n_in;
    Py_buffer weights, biases;
    const char *path;
    if (!PyArg_ParseTuple(args, "iiy*z*s", &n_out, &n_in, &weights, &biases, &path))
        return NULL;
    ncodec_numbers of, with = {NULL, 4};
    ncodec_matrix *matrix = NULL;
    if (n_out < 1 || n_in < 1 || n_out > MOST || n_in > MOST)
        refused("matrix: a size is out of range");
    else if (!numbers_of(&weights, (Py_ssize_t)n_out * n_in, &of)
             && (!biases.buf || !numbers_of(&biases, n_out, &with))
             && !(matrix = ncodec_matrix_new(n_out, n_in, of, with, path)))
        refused("matrix: no memory, or no such path");
    PyBuffer_Release(&weights);
    PyBuffer_Release(&biases);
    if (!matrix)
        return NULL;
    PyObject *capsule = boxed((box){.of = matrix, .n_in = n_in, .n_out = n_out}, MATRIX, drop_matrix);
    if (!capsule)
        ncodec_matrix_free(matrix);
    return capsule;
}

/* product(matrix, float32 rows, step between them, their number, buffer of float32 [n, outputs]) */
static PyObject *product(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    Py_buffer rows, out;
    Py_ssize_t step, n;
    if (!PyArg_ParseTuple(args, "Oy*nnw*", &capsule, &rows, &step, &n, &out))
        return NULL;
    const box *held = PyCapsule_GetPointer(capsule, MATRIX);
    const Py_ssize_t size = (Py_ssize_t)sizeof(float);
    if (held && (n < 0 || n > 1 << 22 || step < 1 || step > MOST
                 || (n && rows.len < ((n - 1) * step + held->n_in) * size)
                 || out.len != n * padded(held->n_out) * size)) {
        refused("product: expected rows of the inputs and room for padded outputs");
    } else if (held) {
        Py_BEGIN_ALLOW_THREADS
        ncodec_product(held->of, rows.buf, (size_t)step, (int)n, out.buf);
        Py_END_ALLOW_THREADS
        found = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&rows);
    PyBuffer_Release(&out);
    return found;
}

/* stack((width, blocks, kernel, hidden, activation), [tensor, ...], path) */
static PyObject *new_stack(PyObject *self, PyObject *args)
{
    (void)self;
    ncodec_stack_sizes s;
    PyObject *tensors, *capsule = NULL;
    const char *path;
    if (!PyArg_ParseTuple(args, "(iiiii)O!s", &s.width, &s.n_blocks, &s.kernel, &s.hidden,
                          &s.activation, &PyList_Type, &tensors, &path))
        return NULL;
    if (s.width < 1 || s.width > MOST || s.n_blocks < 0 || s.n_blocks > MOST_BLOCKS || s.kernel < 1
        || s.kernel > 1 << 10 || s.hidden < 1 || s.hidden > MOST)
        return refused("stack: a size is out of range");
    const int n_all = s.n_blocks * NCODEC_TENSORS_OF_BLOCK + 2;
    if (PyList_Size(tensors) != n_all)
        return refused("stack: another number of tensors");
    const Py_ssize_t width = s.width, hidden = s.hidden;
    const Py_ssize_t sizes[NCODEC_TENSORS_OF_BLOCK] = {
        width * s.kernel, width, width, width, hidden * width, hidden, width * hidden, width, width};
    Py_buffer *buffers = calloc((size_t)n_all, sizeof *buffers);
    ncodec_numbers *numbers = calloc((size_t)n_all, sizeof *numbers);
    ncodec_stack *stack = NULL;
    int n = 0;
    if (!buffers || !numbers) {
        PyErr_NoMemory();
        goto done;
    }
    for (; n < n_all; n++) {
        const int is_last = n >= n_all - 2;
        if (PyObject_GetBuffer(PyList_GetItem(tensors, n), &buffers[n], PyBUF_SIMPLE))
            goto done;
        if (numbers_of(&buffers[n], is_last ? width : sizes[n % NCODEC_TENSORS_OF_BLOCK],
                       &numbers[n])) {
            n++;
            goto done;
        }
    }
    if (!(stack = ncodec_stack_new(&s, numbers, path)))
        refused("stack: no memory, or no such path");
    else if (!(capsule = boxed((box){.of = stack, .sizes = s}, STACK, drop_stack)))
        ncodec_stack_free(stack);
done:
    for (int i = 0; i < n; i++)
        PyBuffer_Release(&buffers[i]);
    free(buffers);
    free(numbers);
    return capsule;
}

/* run(stack, condition or None, past, float32 rows [n, padded W], buffer of the same size) */
static PyObject *run_stack(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    Py_buffer condition, past, rows, out;
    if (!PyArg_ParseTuple(args, "Oz*w*y*w*", &capsule, &condition, &past, &rows, &out))
        return NULL;
    const box *held = PyCapsule_GetPointer(capsule, STACK);
    if (held) {
        const ncodec_stack_sizes *s = &held->sizes;
        const Py_ssize_t row = padded(s->width) * (Py_ssize_t)sizeof(float);
        if (rows.len % row || rows.len / row > 1 << 22 || out.len != rows.len
            || past.len != (Py_ssize_t)s->n_blocks * (s->kernel - 1) * row
            || (condition.buf && condition.len != (Py_ssize_t)s->n_blocks * 2 * row)) {
            refused("run: expected float32 [n, W], past [blocks, kernel - 1, W], padded");
        } else {
            int failed;
            Py_BEGIN_ALLOW_THREADS
            failed = ncodec_stack_run(
                held->of, condition.buf, past.buf, rows.buf, (int)(rows.len / row), out.buf);
            Py_END_ALLOW_THREADS
            found = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
        }
    }
    PyBuffer_Release(&condition);
    PyBuffer_Release(&past);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&out);
    return found;
}

static PyObject *new_codebooks(PyObject *self, PyObject *args)
{
    (void)self;
    int n_codebooks, size, dim;
    Py_buffer vectors;
    const char *path;
    if (!PyArg_ParseTuple(args, "iiiy*s", &n_codebooks, &size, &dim, &vectors, &path))
        return NULL;
    ncodec_numbers of;
    ncodec_codebooks *books = NULL;
    if (n_codebooks < 1 || n_codebooks > MOST_CODEBOOKS || size < 1 || size > MOST || dim < 1
        || dim > MOST)
        refused("codebooks: a size is out of range");
    else if (!numbers_of(&vectors, (Py_ssize_t)n_codebooks * size * dim, &of)
             && !(books = ncodec_codebooks_new(n_codebooks, size, dim, of, path)))
        refused("codebooks: no memory, or no such path");
    PyBuffer_Release(&vectors);
    if (!books)
        return NULL;
    const box what = {.of = books, .n_codebooks = n_codebooks, .size = size, .dim = dim};
    PyObject *capsule = boxed(what, CODEBOOKS, drop_codebooks);
    if (!capsule)
        ncodec_codebooks_free(books);
    return capsule;
}

/* search(codebooks, context or None, latents [n, D], hidden [n, W], weights [n, q], n_q, beams,
 * buffer of int32 codes [n, q]); hidden and weights are None without a context */
static PyObject *search(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *coder, *found = NULL;
    Py_buffer latents, hidden, weights, codes;
    int n_q, n_beams;
    if (!PyArg_ParseTuple(args, "OOy*z*z*iiw*", &capsule, &coder, &latents, &hidden, &weights, &n_q,
                          &n_beams, &codes))
        return NULL;
    const box *held = PyCapsule_GetPointer(capsule, CODEBOOKS);
    ncodec_context_box *context = NULL;
    if (held && (coder == Py_None || (context = ncodec_taken(coder)))) {
        const Py_ssize_t size = (Py_ssize_t)sizeof(float), row = held->dim * size;
        const Py_ssize_t n = latents.len / row;
        int fits = latents.len % row == 0 && n <= 1 << 22 && n_q >= 1 && n_q <= held->n_codebooks
                && n_beams >= 1 && n_beams <= NCODEC_ROWS
                && codes.len == n * n_q * (Py_ssize_t)sizeof(int32_t);
        if (context)
            fits = fits && hidden.buf && weights.buf && n_q <= context->n_q
                && context->sizes.codebook_size == held->size
                && hidden.len == n * context->sizes.width * size && weights.len == n * n_q * size;
        else
            fits = fits && !hidden.buf && !weights.buf;
        if (!fits) {
            refused("search: expected latents [n, D], codes [n, q], and what belongs to a context");
        } else {
            int failed;
            Py_BEGIN_ALLOW_THREADS
            failed = ncodec_search(held->of, context ? context->context : NULL, latents.buf,
                                   hidden.buf, weights.buf, (int)n, n_q, n_beams, codes.buf);
            Py_END_ALLOW_THREADS
            found = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
        }
        if (context)
            context->is_busy = 0;
    }
    PyBuffer_Release(&latents);
    PyBuffer_Release(&hidden);
    PyBuffer_Release(&weights);
    PyBuffer_Release(&codes);
    return found;
}

PyMethodDef ncodec_networks_methods[] = {
    {"matrix", new_matrix, METH_VARARGS, "matrix(outputs, inputs, weights, biases, path)."},
    {"product", product, METH_VARARGS, "product(matrix, rows, step, n, products)."},
    {"stack", new_stack, METH_VARARGS, "stack(sizes, [tensor, ...], path)."},
    {"run", run_stack, METH_VARARGS, "run(stack, condition, past, rows, found)."},
    {"codebooks", new_codebooks, METH_VARARGS, "codebooks(number, size, dim, vectors, path)."},
    {"search", search, METH_VARARGS,
     "search(books, context, latents, hidden, weights, n_q, beams, codes)."},
    {NULL, NULL, 0, NULL},
};
