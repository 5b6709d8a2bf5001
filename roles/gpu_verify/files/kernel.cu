// Proves that a toolkit compiles and links device code, and on a GPU that it runs: y = 2x + y, then a sum, on every GPU.
#include <cstdio>
#include <vector>

#include <cuda_runtime.h>

namespace {

constexpr int kCount = 1 << 16;
constexpr int kThreads = 256;

__global__ void saxpy(int count, float factor, const float *x, float *y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) {
    y[i] = factor * x[i] + y[i];
  }
}

__global__ void sum(int count, const float *values, unsigned long long *total) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) {
    atomicAdd(total, static_cast<unsigned long long>(values[i]));
  }
}

int fail(const char *what, cudaError_t code) {
  std::printf("{\"call\": \"%s\", \"code\": %d, \"name\": \"%s\"}\n", what, static_cast<int>(code), cudaGetErrorName(code));
  return 1;
}

#define CALL(expression)                                      \
  do {                                                        \
    const cudaError_t code = (expression);                    \
    if (code != cudaSuccess) return fail(#expression, code);  \
  } while (0)

int prove(int device) {
  std::vector<float> x(kCount), y(kCount), result(kCount);
  unsigned long long wanted = 0;
  for (int i = 0; i < kCount; ++i) {  // small whole numbers: exact in float, whatever the order of the sum
    x[i] = static_cast<float>(i % 1000);
    y[i] = static_cast<float>(i % 7);
    wanted += static_cast<unsigned long long>(2 * (i % 1000) + i % 7);
  }
  CALL(cudaSetDevice(device));
  float *left, *right;
  unsigned long long *total, found = 0;
  CALL(cudaMalloc(&left, kCount * sizeof(float)));
  CALL(cudaMalloc(&right, kCount * sizeof(float)));
  CALL(cudaMalloc(&total, sizeof(found)));
  CALL(cudaMemcpy(left, x.data(), kCount * sizeof(float), cudaMemcpyHostToDevice));
  CALL(cudaMemcpy(right, y.data(), kCount * sizeof(float), cudaMemcpyHostToDevice));
  CALL(cudaMemset(total, 0, sizeof(found)));
  saxpy<<<kCount / kThreads, kThreads>>>(kCount, 2.0f, left, right);
  CALL(cudaGetLastError());
  sum<<<kCount / kThreads, kThreads>>>(kCount, right, total);
  CALL(cudaGetLastError());
  CALL(cudaDeviceSynchronize());
  CALL(cudaMemcpy(result.data(), right, kCount * sizeof(float), cudaMemcpyDeviceToHost));
  CALL(cudaMemcpy(&found, total, sizeof(found), cudaMemcpyDeviceToHost));
  int wrong = 0;
  for (int i = 0; i < kCount; ++i) {
    wrong += result[i] != 2.0f * x[i] + y[i];
  }
  cudaFuncAttributes attributes;
  CALL(cudaFuncGetAttributes(&attributes, saxpy));
  std::printf("{\"device\": %d, \"binary\": %d, \"wrong\": %d, \"sum\": %llu, \"wanted\": %llu}\n", device,
              attributes.binaryVersion, wrong, found, wanted);
  CALL(cudaFree(left));
  CALL(cudaFree(right));
  CALL(cudaFree(total));
  return wrong != 0 || found != wanted;
}

}  // namespace

int main() {
  int devices = 0;
  CALL(cudaGetDeviceCount(&devices));
  int failed = 0;
  for (int device = 0; device < devices; ++device) {
    failed |= prove(device);
  }
  return failed;
}
