/* What the parts of the Python module share. */
#ifndef NCODEC_MODULE_H
#define NCODEC_MODULE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>

extern PyMethodDef ncodec_adaptive_methods[];

/* The number of frames that a buffer of int32 codes [F, n_channels] has; -1 with an error set for
 * other lengths. */
Py_ssize_t ncodec_frames_of(const Py_buffer *codes, Py_ssize_t n_channels);

/* The same, and an error for codes that do not lie in [0, codebook_size). */
Py_ssize_t ncodec_frames_of_codes(
    const Py_buffer *codes, Py_ssize_t n_channels, int codebook_size);

#endif
