/* What the two halves of the binding share. */
#ifndef NCODEC_MODULE_H
#define NCODEC_MODULE_H

#include "networks.h"

typedef struct {
    ncodec_context *context;
    PyObject *owner; /* the capsule of its model */
    ncodec_sizes sizes;
    int n_packets, n_streams, n_q, is_busy;
} context_box;

/* Take a context for one call at a time; NULL with an error set. */
context_box *taken(PyObject *capsule);

PyObject *new_matrix(PyObject *self, PyObject *args);
PyObject *product(PyObject *self, PyObject *args);
PyObject *new_stack(PyObject *self, PyObject *args);
PyObject *run_stack(PyObject *self, PyObject *args);
PyObject *new_codebooks(PyObject *self, PyObject *args);
PyObject *search(PyObject *self, PyObject *args);

#endif
