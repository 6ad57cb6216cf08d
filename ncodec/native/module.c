/* The kernel for Python, by the stable ABI. Every count and length is checked here. */
#include "module.h"

#include <stdlib.h>
#include <string.h>

static const char MODEL[] = "ncodec.native.model", CONTEXT[] = "ncodec.native.context";

typedef struct {
    ncodec_model *model;
    ncodec_sizes sizes;
} model_box;

static void drop_model(PyObject *capsule)
{
    model_box *box = PyCapsule_GetPointer(capsule, MODEL);
    ncodec_model_free(box->model);
    free(box);
}

static void drop_context(PyObject *capsule)
{
    ncodec_context_box *box = PyCapsule_GetPointer(capsule, CONTEXT);
    ncodec_context_free(box->context);
    Py_DECREF(box->owner);
    free(box);
}

ncodec_context_box *ncodec_taken(PyObject *capsule)
{
    ncodec_context_box *box = PyCapsule_GetPointer(capsule, CONTEXT);
    if (box && box->is_busy) {
        PyErr_SetString(PyExc_RuntimeError, "context: in use by another thread");
        return NULL;
    }
    if (box)
        box->is_busy = 1;
    return box;
}

static PyObject *paths(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    PyObject *found = PyList_New(0);
    for (const char *const *name = ncodec_paths(); found && *name; name++) {
        PyObject *text = PyUnicode_FromString(*name);
        if (!text || PyList_Append(found, text))
            Py_CLEAR(found);
        Py_XDECREF(text);
    }
    return found;
}

static PyObject *new_model(PyObject *self, PyObject *args)
{
    (void)self;
    ncodec_sizes s;
    Py_buffer tensors;
    const char *path;
    if (!PyArg_ParseTuple(args, "(iiiiiiii)y*s", &s.n_codebooks, &s.codebook_size, &s.width,
                          &s.n_layers, &s.n_heads, &s.window, &s.hidden, &s.head_hidden, &tensors,
                          &path))
        return NULL;
    const size_t wanted = ncodec_model_bytes(&s);
    ncodec_model *model = NULL;
    if (!wanted || (size_t)tensors.len != wanted)
        PyErr_Format(PyExc_ValueError, "tensors: expected %zu bytes, found %zd", wanted, tensors.len);
    else if (!(model = ncodec_model_new(&s, tensors.buf, path)))
        PyErr_SetString(PyExc_ValueError, "tensors or path: not possible");
    PyBuffer_Release(&tensors);
    if (!model)
        return NULL;
    model_box *box = malloc(sizeof *box);
    PyObject *capsule = NULL;
    if (box) {
        *box = (model_box){model, s};
        capsule = PyCapsule_New(box, MODEL, drop_model);
    }
    if (!capsule) {
        ncodec_model_free(model);
        free(box);
        return box ? NULL : PyErr_NoMemory();
    }
    return capsule;
}

static PyObject *new_context(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *owner;
    int n_packets, n_streams, n_q, ahead;
    if (!PyArg_ParseTuple(args, "Oiiii", &owner, &n_packets, &n_streams, &n_q, &ahead))
        return NULL;
    model_box *model = PyCapsule_GetPointer(owner, MODEL);
    if (!model)
        return NULL;
    if (n_packets < 1 || n_packets > NCODEC_ROWS || n_streams < 1 || n_streams > 1 << 10 || n_q < 1
        || n_q > model->sizes.n_codebooks || ahead < 1 || ahead > NCODEC_ROWS) {
        PyErr_SetString(PyExc_ValueError, "context: a count is out of range");
        return NULL;
    }
    ncodec_context_box *box = calloc(1, sizeof *box);
    if (!box)
        return PyErr_NoMemory();
    box->context = ncodec_context_new(model->model, n_packets, n_streams, n_q, ahead);
    PyObject *capsule = box->context ? PyCapsule_New(box, CONTEXT, drop_context) : PyErr_NoMemory();
    if (!capsule) {
        ncodec_context_free(box->context);
        free(box);
        return NULL;
    }
    Py_INCREF(owner);
    box->owner = owner;
    box->sizes = model->sizes;
    box->n_packets = n_packets;
    box->n_streams = n_streams;
    box->n_q = n_q;
    return capsule;
}

static PyObject *reset(PyObject *self, PyObject *capsule)
{
    (void)self;
    ncodec_context_box *box = ncodec_taken(capsule);
    if (!box)
        return NULL;
    ncodec_context_reset(box->context);
    box->is_busy = 0;
    Py_RETURN_NONE;
}

/* decode(context, [payload, ...], [frames, ...], [buffer of int32 codes, ...]) -> [failed, ...] */
static PyObject *decode(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *payloads, *frames, *outputs, *found = NULL;
    if (!PyArg_ParseTuple(args, "OO!O!O!", &capsule, &PyList_Type, &payloads, &PyList_Type, &frames,
                          &PyList_Type, &outputs))
        return NULL;
    ncodec_context_box *box = ncodec_taken(capsule);
    if (!box)
        return NULL;
    const Py_ssize_t n = PyList_Size(payloads);
    Py_buffer in[NCODEC_ROWS], out[NCODEC_ROWS];
    const uint8_t *starts[NCODEC_ROWS];
    size_t n_bytes[NCODEC_ROWS];
    int n_frames[NCODEC_ROWS];
    int32_t *codes[NCODEC_ROWS];
    int64_t failed[NCODEC_ROWS];
    int n_in = 0, n_out = 0, i;
    if (n < 1 || n > box->n_packets || PyList_Size(frames) != n || PyList_Size(outputs) != n) {
        PyErr_SetString(PyExc_ValueError, "decode: other numbers of packets");
        goto done;
    }
    for (i = 0; i < n; i++) {
        const long count = PyLong_AsLong(PyList_GetItem(frames, i));
        if (PyErr_Occurred())
            goto done;
        if (PyObject_GetBuffer(PyList_GetItem(payloads, i), &in[i], PyBUF_SIMPLE))
            goto done;
        n_in++;
        if (PyObject_GetBuffer(PyList_GetItem(outputs, i), &out[i], PyBUF_WRITABLE))
            goto done;
        n_out++;
        if (count < 0 || count > 1 << 22 || (i && count > n_frames[i - 1])
            || out[i].len != (Py_ssize_t)sizeof(int32_t) * count * box->n_streams * box->n_q) {
            PyErr_SetString(PyExc_ValueError, "decode: expected packets of falling length and room "
                                              "for their codes");
            goto done;
        }
        starts[i] = in[i].buf;
        n_bytes[i] = (size_t)in[i].len;
        n_frames[i] = (int)count;
        codes[i] = out[i].buf;
    }
    Py_BEGIN_ALLOW_THREADS
    ncodec_decode(box->context, (int)n, starts, n_bytes, n_frames, codes, failed);
    Py_END_ALLOW_THREADS
    found = PyList_New(n);
    for (i = 0; found && i < n; i++)
        PyList_SetItem(found, i, PyLong_FromLongLong(failed[i]));
done:
    for (i = 0; i < n_in; i++)
        PyBuffer_Release(&in[i]);
    for (i = 0; i < n_out; i++)
        PyBuffer_Release(&out[i]);
    box->is_busy = 0;
    return found;
}

Py_ssize_t ncodec_frames_of(const Py_buffer *codes, Py_ssize_t n_channels)
{
    const Py_ssize_t each = (Py_ssize_t)sizeof(int32_t) * n_channels;
    if (codes->len % each || codes->len / each > 1 << 22) {
        PyErr_SetString(PyExc_ValueError, "codes: expected int32 [frames, streams, codebooks]");
        return -1;
    }
    return codes->len / each;
}

Py_ssize_t ncodec_frames_of_codes(const Py_buffer *codes, Py_ssize_t n_channels, int codebook_size)
{
    const int32_t *all = codes->buf;
    for (Py_ssize_t i = 0; i < codes->len / (Py_ssize_t)sizeof(int32_t); i++)
        if (all[i] < 0 || all[i] >= codebook_size) {
            PyErr_SetString(PyExc_ValueError, "codes: out of range");
            return -1;
        }
    return ncodec_frames_of(codes, n_channels);
}

static Py_ssize_t frames_of(const ncodec_context_box *box, const Py_buffer *codes)
{
    return ncodec_frames_of_codes(
        codes, (Py_ssize_t)box->n_streams * box->n_q, box->sizes.codebook_size);
}

/* encode(context, codes) -> payload */
static PyObject *encode(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    Py_buffer codes;
    if (!PyArg_ParseTuple(args, "Oy*", &capsule, &codes))
        return NULL;
    ncodec_context_box *box = ncodec_taken(capsule);
    if (box && box->n_packets != 1) {
        PyErr_SetString(PyExc_ValueError, "encode: expected a context of one packet");
    } else if (box) {
        const Py_ssize_t n_frames = frames_of(box, &codes);
        uint8_t *payload = NULL;
        if (n_frames >= 0 && !(payload = malloc(3 * (size_t)codes.len / sizeof(int32_t) + 16)))
            PyErr_NoMemory();
        if (payload) {
            size_t n;
            Py_BEGIN_ALLOW_THREADS
            n = ncodec_encode(box->context, codes.buf, (int)n_frames, payload);
            Py_END_ALLOW_THREADS
            found = PyBytes_FromStringAndSize((const char *)payload, (Py_ssize_t)n);
            free(payload);
        }
    }
    if (box)
        box->is_busy = 0;
    PyBuffer_Release(&codes);
    return found;
}

/* hidden(context, codes, buffer of float32 [F, S, D]) */
static PyObject *hidden(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    Py_buffer codes, rows;
    if (!PyArg_ParseTuple(args, "Oy*w*", &capsule, &codes, &rows))
        return NULL;
    ncodec_context_box *box = ncodec_taken(capsule);
    if (box && box->n_packets != 1) {
        PyErr_SetString(PyExc_ValueError, "hidden: expected a context of one packet");
    } else if (box) {
        const Py_ssize_t n_frames = frames_of(box, &codes);
        const Py_ssize_t each = (Py_ssize_t)sizeof(float) * box->n_streams * box->sizes.width;
        if (n_frames >= 0 && rows.len != n_frames * each) {
            PyErr_SetString(PyExc_ValueError, "hidden: expected room for float32 [F, S, D]");
        } else if (n_frames >= 0) {
            Py_BEGIN_ALLOW_THREADS
            ncodec_hidden(box->context, codes.buf, (int)n_frames, rows.buf);
            Py_END_ALLOW_THREADS
            found = Py_NewRef(Py_None);
        }
    }
    if (box)
        box->is_busy = 0;
    PyBuffer_Release(&codes);
    PyBuffer_Release(&rows);
    return found;
}

/* logits(context, q, float32 rows [n, D], buffer of float32 [n, K]) */
static PyObject *logits(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *found = NULL;
    int q;
    Py_buffer rows, out;
    if (!PyArg_ParseTuple(args, "Oiy*w*", &capsule, &q, &rows, &out))
        return NULL;
    ncodec_context_box *box = ncodec_taken(capsule);
    if (box) {
        const Py_ssize_t row = (Py_ssize_t)sizeof(float) * box->sizes.width;
        const Py_ssize_t wide = (Py_ssize_t)sizeof(float) * box->sizes.codebook_size;
        if (q < 0 || q >= box->n_q || rows.len % row || rows.len / row > 1 << 22
            || out.len != rows.len / row * wide) {
            PyErr_SetString(PyExc_ValueError, "logits: expected float32 [n, D] and [n, K]");
        } else {
            Py_BEGIN_ALLOW_THREADS
            ncodec_logits(box->context, q, rows.buf, (int)(rows.len / row), out.buf);
            Py_END_ALLOW_THREADS
            found = Py_NewRef(Py_None);
        }
        box->is_busy = 0;
    }
    PyBuffer_Release(&rows);
    PyBuffer_Release(&out);
    return found;
}

static PyMethodDef METHODS[] = {
    {"paths", paths, METH_NOARGS, "Names of the instructions that can be used, the best first."},
    {"model", new_model, METH_VARARGS, "model(sizes, tensors, path): a model."},
    {"context", new_context, METH_VARARGS, "context(model, packets, streams, n_q, ahead)."},
    {"reset", reset, METH_O, "reset(context): start again, as before a key packet."},
    {"decode", decode, METH_VARARGS, "decode(context, payloads, frames, codes): where each failed."},
    {"encode", encode, METH_VARARGS, "encode(context, codes): the payload."},
    {"hidden", hidden, METH_VARARGS, "hidden(context, codes, rows): write h of each frame."},
    {"logits", logits, METH_VARARGS, "logits(context, q, rows, logits): write logits."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_kernel", "See kernel.h, adaptive.h, mixed.h, networks.h.", -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (PyModule_AddFunctions(module, ncodec_coders_methods)
                   || PyModule_AddFunctions(module, ncodec_networks_methods)))
        Py_CLEAR(module);
    return module;
}
