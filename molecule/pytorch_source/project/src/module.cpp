// Copyright (c) 2026, Podsmith developers
// SPDX-License-Identifier: GPL-3.0-or-later
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define KERNELS(X) X(scale) X(axpy) X(reduce) X(transpose) X(scan) X(histogram)
#define DECLARE(name) int launch_##name(float *data, int count);
extern "C" { KERNELS(DECLARE) }

// Launches every kernel on nothing: the CUDA error codes, 0 where the GPU ran it.
static PyObject *launch(PyObject *, PyObject *) {
  PyObject *codes = PyDict_New();
#define LAUNCH(name)                                                   \
  {                                                                    \
    PyObject *code = PyLong_FromLong(launch_##name(nullptr, 0));       \
    PyDict_SetItemString(codes, #name, code);                          \
    Py_DECREF(code);                                                   \
  }
  KERNELS(LAUNCH)
  return codes;
}

static PyMethodDef methods[] = {{"launch", launch, METH_NOARGS, "CUDA's answer for each kernel"}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "podsmith_kernels", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit_podsmith_kernels() { return PyModule_Create(&definition); }
