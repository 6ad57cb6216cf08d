/* The adaptive coder for Python: functions of the module of module.c, likewise checked. */
#include "module.h"

#include "adaptive.h"

#include <stdlib.h>

static const char ADAPTIVE[] = "ncodec.native.adaptive";

typedef struct {
    ncodec_adaptive *coder;
    int n_channels, codebook_size, is_busy;
} coder_box;

static void drop_coder(PyObject *capsule)
{
    coder_box *box = PyCapsule_GetPointer(capsule, ADAPTIVE);
    ncodec_adaptive_free(box->coder);
    free(box);
}

/* Take a coder for one call at a time; NULL with an error set. */
static coder_box *taken(PyObject *capsule)
{
    coder_box *box = PyCapsule_GetPointer(capsule, ADAPTIVE);
    if (box && box->is_busy) {
        PyErr_SetString(PyExc_RuntimeError, "adaptive coder: in use by another thread");
        return NULL;
    }
    if (box)
        box->is_busy = 1;
    return box;
}

static PyObject *new_coder(PyObject *self, PyObject *args)
{
    (void)self;
    int n_streams, n_codebooks, codebook_size;
    if (!PyArg_ParseTuple(args, "iii", &n_streams, &n_codebooks, &codebook_size))
        return NULL;
    coder_box *box = calloc(1, sizeof *box);
    if (!box)
        return PyErr_NoMemory();
    PyObject *capsule = NULL;
    box->coder = ncodec_adaptive_new(n_streams, n_codebooks, codebook_size);
    if (!box->coder)
        PyErr_SetString(PyExc_ValueError, "adaptive coder: a count is out of range, or no memory");
    else
        capsule = PyCapsule_New(box, ADAPTIVE, drop_coder);
    if (!capsule) {
        ncodec_adaptive_free(box->coder);
        free(box);
        return NULL;
    }
    box->n_channels = n_streams * n_codebooks;
    box->codebook_size = codebook_size;
    return capsule;
}

/* adaptive_decode(coder, payload, buffer of int32 codes [F, S, Q]) -> failed */
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
            failed = ncodec_adaptive_decode(
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

/* adaptive_encode(coder, codes [F, S, Q]) -> payload */
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
        uint8_t *payload = NULL;
        if (n_frames >= 0 && !(payload = malloc(3 * (size_t)codes.len / sizeof(int32_t) + 16)))
            PyErr_NoMemory();
        if (payload) {
            size_t n;
            Py_BEGIN_ALLOW_THREADS
            n = ncodec_adaptive_encode(box->coder, codes.buf, (int)n_frames, payload);
            Py_END_ALLOW_THREADS
            found = PyBytes_FromStringAndSize((const char *)payload, (Py_ssize_t)n);
            free(payload);
        }
        box->is_busy = 0;
    }
    PyBuffer_Release(&codes);
    return found;
}

PyMethodDef ncodec_adaptive_methods[] = {
    {"adaptive", new_coder, METH_VARARGS, "adaptive(streams, codebooks, codebook_size): a coder."},
    {"adaptive_decode", decode, METH_VARARGS, "adaptive_decode(coder, payload, codes): failed."},
    {"adaptive_encode", encode, METH_VARARGS, "adaptive_encode(coder, codes): the payload."},
    {NULL, NULL, 0, NULL},
};
