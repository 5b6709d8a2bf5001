// Copyright (c) 2026, Podsmith developers
// SPDX-License-Identifier: GPL-3.0-or-later
#include <cuda_runtime.h>

__global__ void histogram(float *x, int n) {
  __shared__ int bins[64];
  if (threadIdx.x < 64) bins[threadIdx.x] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(&bins[__float_as_int(x[i]) & 63], 1);
  __syncthreads();
  if (threadIdx.x < 64 && threadIdx.x < n) x[threadIdx.x] = bins[threadIdx.x];
}

extern "C" int launch_histogram(float *data, int count) {
  histogram<<<1, 256>>>(data, count);
  return cudaGetLastError();
}
