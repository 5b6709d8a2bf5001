// Proves that the environment's PyTorch headers, its libraries and this host's compiler fit: an operator is built, registered and called.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#ifdef PODSMITH_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

void launch_scale(const float *x, double factor, float *y, int64_t count, cudaStream_t stream);
#endif

at::Tensor scale(const at::Tensor &x, double factor) {
  at::Tensor y = x.clone();
#ifdef PODSMITH_CUDA
  if (x.is_cuda()) {
    const c10::cuda::CUDAGuard guard(x.device());
    launch_scale(x.const_data_ptr<float>(), factor, y.mutable_data_ptr<float>(), x.numel(), c10::cuda::getCurrentCUDAStream());
    return y;
  }
#endif
  float *values = y.mutable_data_ptr<float>();
  for (int64_t i = 0; i < y.numel(); ++i) {
    values[i] *= static_cast<float>(factor);
  }
  return y;
}

TORCH_LIBRARY(podsmith_proof, library) { library.def("scale(Tensor x, float factor) -> Tensor", &scale); }
