/* What the parts of the Python module share. */
#ifndef NCODEC_MODULE_H
#define NCODEC_MODULE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "networks.h"

extern PyMethodDef ncodec_coders_methods[], ncodec_networks_methods[];

typedef struct {
    ncodec_context *context;
    PyObject *owner; /* the capsule of its model */
    ncodec_sizes sizes;
    int n_packets, n_streams, n_q, is_busy;
} ncodec_context_box;

/* Take a context for one call at a time; NULL with an error set. */
ncodec_context_box *ncodec_taken(PyObject *capsule);

/* The number of frames that a buffer of int32 codes [F, n_channels] has; -1 with an error set for
 * other lengths. */
Py_ssize_t ncodec_frames_of(const Py_buffer *codes, Py_ssize_t n_channels);

/* The same, and an error for codes that do not lie in [0, codebook_size). */
Py_ssize_t ncodec_frames_of_codes(
    const Py_buffer *codes, Py_ssize_t n_channels, int codebook_size);

#endif
