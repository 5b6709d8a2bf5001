// Copyright (c) 2026, Podsmith developers
// SPDX-License-Identifier: GPL-3.0-or-later
#include <cuda_runtime.h>

__global__ void axpy(float *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = fmaf(x[i], 3.0f, x[n - 1 - i]);
}

extern "C" int launch_axpy(float *data, int count) {
  axpy<<<1, 256>>>(data, count);
  return cudaGetLastError();
}
