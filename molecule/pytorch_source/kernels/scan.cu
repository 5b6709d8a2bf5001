// Copyright (c) 2026, Podsmith developers
// SPDX-License-Identifier: GPL-3.0-or-later
#include <cuda_runtime.h>

__global__ void scan(float *x, int n) {
  int i = threadIdx.x;
  float sum = i < n ? x[i] : 0;
  for (int step = 1; step < 32; step *= 2) {
    float other = __shfl_up_sync(~0u, sum, step);
    if (i % 32 >= step) sum += other;
  }
  if (i < n) x[i] = sum;
}

extern "C" int launch_scan(float *data, int count) {
  scan<<<1, 256>>>(data, count);
  return cudaGetLastError();
}
