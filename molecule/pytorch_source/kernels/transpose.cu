// Copyright (c) 2026, Podsmith developers
// SPDX-License-Identifier: GPL-3.0-or-later
#include <cuda_runtime.h>

__global__ void transpose(float *x, int n) {
  __shared__ float tile[32][33];
  int row = threadIdx.x / 32, column = threadIdx.x % 32;
  if (n >= 1024) tile[row][column] = x[row * 32 + column];
  __syncthreads();
  if (n >= 1024) x[row * 32 + column] = tile[column][row];
}

extern "C" int launch_transpose(float *data, int count) {
  transpose<<<1, 1024>>>(data, count);
  return cudaGetLastError();
}
