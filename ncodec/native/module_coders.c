/* The adaptive and the mixed coder for Python: functions of the module of module.c, likewise
 * checked. */
#include "module.h"

#include "adaptive.h"
#include "mixed.h"

#include <stdlib.h>
#include <string.h>

static const char CODER[] = "ncodec.native.coders";

/* What each coder's functions do with a coder of its own kind. */
typedef struct {
    const char *name;
    void *(*make)(int n_streams, int n_codebooks, int codebook_size);
    void (*drop)(void *coder);
    int64_t (*decode)(
        void *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes);
    size_t (*encode)(void *coder, const int32_t *codes, int n_frames, uint8_t *payload);
    int is_binary; /* each bit of a code is a symbol */
} coder_kind;

#define MAKE(name)                                                                                 \
    static void *name##_make(int n_streams, int n_codebooks, int codebook_size)                    \
    {                                                                                              \
        return ncodec_##name##_new(n_streams, n_codebooks, codebook_size);                         \
    }                                                                                              \
    static void name##_drop(void *coder) { ncodec_##name##_free(coder); }                          \
    static int64_t name##_decode(                                                                  \
        void *coder, const uint8_t *payload, size_t n_bytes, int n_frames, int32_t *codes)         \
    {                                                                                              \
        return ncodec_##name##_decode(coder, payload, n_bytes, n_frames, codes);                   \
    }                                                                                              \
    static size_t name##_encode(                                                                   \
        void *coder, const int32_t *codes, int n_frames, uint8_t *payload)                         \
    {                                                                                              \
        return ncodec_##name##_encode(coder, codes, n_frames, payload);                            \
    }
MAKE(adaptive)
MAKE(mixed)

static const coder_kind KINDS[] = {
    {"adaptive", adaptive_make, adaptive_drop, adaptive_decode, adaptive_encode, 0},
    {"mixed", mixed_make, mixed_drop, mixed_decode, mixed_encode, 1},
};

typedef struct {
    const coder_kind *kind;
    void *coder;
    int n_channels, codebook_size, is_busy;
} coder_box;

static void drop_coder(PyObject *capsule)
{
    coder_box *box = PyCapsule_GetPointer(capsule, CODER);
    box->kind->drop(box->coder);
    free(box);
}

/* Take a coder for one call at a time; NULL with an error set. */
static coder_box *taken(PyObject *capsule)
{
    coder_box *box = PyCapsule_GetPointer(capsule, CODER);
    if (box && box->is_busy) {
        PyErr_Format(PyExc_RuntimeError, "%s coder: in use by another thread", box->kind->name);
        return NULL;
    }
    if (box)
        box->is_busy = 1;
    return box;
}

/* coder(name, streams, codebooks, codebook size) */
static PyObject *new_coder(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name;
    const coder_kind *kind = NULL;
    int n_streams, n_codebooks, codebook_size;
    if (!PyArg_ParseTuple(args, "siii", &name, &n_streams, &n_codebooks, &codebook_size))
        return NULL;
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (!strcmp(name, KINDS[i].name))
            kind = &KINDS[i];
    if (!kind)
        return PyErr_Format(PyExc_ValueError, "no coder named %s", name);
    coder_box *box = calloc(1, sizeof *box);
    if (!box)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    box->kind = kind;
    box->coder = kind->make(n_streams, n_codebooks, codebook_size);
    if (!box->coder)
        PyErr_Format(PyExc_ValueError, "%s coder: a count is out of range, or no memory", name);
    else
        capsule = PyCapsule_New(box, CODER, drop_coder);
    if (!capsule) {
        kind->drop(box->coder);
        free(box);
        return NULL;
    }
    box->n_channels = n_streams * n_codebooks;
    box->codebook_size = codebook_size;
    return capsule;
}

/* coder_decode(coder, payload, buffer of int32 codes [F, S, Q]) -> failed */
static PyObject *decode(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    Py_buffer payload, codes;
    if (!PyArg_ParseTuple(args, "Oy*w*", &capsule, &payload, &codes))
        return NULL;
    coder_box *box = taken(capsule);
    if (box) {
        const Py_ssize_t n_frames = ncodec_frames_of(&codes, box->n_channels);
        if (n_frames >= 0) {
            int64_t failed;
            Py_BEGIN_ALLOW_THREADS
            failed = box->kind->decode(
                box->coder, payload.buf, (size_t)payload.len, (int)n_frames, codes.buf);
            Py_END_ALLOW_THREADS
            found = PyLong_FromLongLong(failed);
        }
        box->is_busy = 0;
    }
    PyBuffer_Release(&payload);
    PyBuffer_Release(&codes);
    return found;
}

/* How many symbols a code is at most. */
static size_t symbols_of(const coder_box *box)
{
    size_t n = 0;
    while (box->kind->is_binary && (size_t)1 << n < (size_t)box->codebook_size)
        n++;
    return n ? n : 1;
}

/* coder_encode(coder, codes [F, S, Q]) -> payload */
static PyObject *encode(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    Py_buffer codes;
    if (!PyArg_ParseTuple(args, "Oy*", &capsule, &codes))
        return NULL;
    coder_box *box = taken(capsule);
    if (box) {
        const Py_ssize_t n_frames
            = ncodec_frames_of_codes(&codes, box->n_channels, box->codebook_size);
        const size_t n_symbols = (size_t)codes.len / sizeof(int32_t) * symbols_of(box);
        uint8_t *payload = NULL;
        if (n_frames >= 0 && !(payload = malloc(3 * n_symbols + 16)))
            PyErr_NoMemory();
        if (payload) {
            size_t n;
            Py_BEGIN_ALLOW_THREADS
            n = box->kind->encode(box->coder, codes.buf, (int)n_frames, payload);
            Py_END_ALLOW_THREADS
            found = PyBytes_FromStringAndSize((const char *)payload, (Py_ssize_t)n);
            free(payload);
        }
        box->is_busy = 0;
    }
    PyBuffer_Release(&codes);
    return found;
}

PyMethodDef ncodec_coders_methods[] = {
    {"coder", new_coder, METH_VARARGS, "coder(name, streams, codebooks, codebook_size): a coder."},
    {"coder_decode", decode, METH_VARARGS, "coder_decode(coder, payload, codes): failed."},
    {"coder_encode", encode, METH_VARARGS, "coder_encode(coder, codes): the payload."},
    {NULL, NULL, 0, NULL},
};
