// Copyright (c) 2026, Podsmith developers
// SPDX-License-Identifier: GPL-3.0-or-later
#include <cuda_runtime.h>

__global__ void reduce(float *x, int n) {
  float sum = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
  for (int step = 16; step; step /= 2) sum += __shfl_down_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0 && n) atomicAdd(x, sum);
}

extern "C" int launch_reduce(float *data, int count) {
  reduce<<<1, 256>>>(data, count);
  return cudaGetLastError();
}
