// Proves a set of CUTLASS headers: one tile of a matrix product through CuTe's layouts, tensors and an MMA atom. Where the
// code is for sm_90a the atom is Hopper's own (wgmma, operands in shared memory), else the tensor core's mma.
//
// Device code only, loaded through the driver: a host's pass would parse the same headers a second time.
#include <cute/tensor.hpp>
#include <cute/atom/mma_atom.hpp>
#include <cute/algorithm/gemm.hpp>
#include <cutlass/numeric_types.h>
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include <cute/arch/copy_sm90_tma.hpp>
#endif

constexpr int kRows = 64;
constexpr int kColumns = 16;
constexpr int kDepth = 64;  // launched as one block of 128 threads

// c = a · bᵀ; a is kRows × kDepth, b is kColumns × kDepth, c is kRows × kColumns, all row by row.
extern "C" __global__ void multiply(const cutlass::half_t *a, const cutlass::half_t *b, float *c) {
  using namespace cute;
  using Element = cutlass::half_t;
  using Rows = Int<kRows>;
  using Columns = Int<kColumns>;
  using Depth = Int<kDepth>;
  const auto left = make_tensor(make_gmem_ptr(a),
                                make_layout(make_shape(Rows{}, Depth{}), make_stride(Depth{}, Int<1>{})));
  const auto right = make_tensor(make_gmem_ptr(b),
                                 make_layout(make_shape(Columns{}, Depth{}), make_stride(Depth{}, Int<1>{})));
  const auto out = make_tensor(make_gmem_ptr(c), make_layout(make_shape(Rows{}, Columns{}), make_stride(Columns{}, Int<1>{})));
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  const auto left_layout = tile_to_shape(GMMA::Layout_K_SW128_Atom<Element>{}, make_shape(Rows{}, Depth{}));
  const auto right_layout = tile_to_shape(GMMA::Layout_K_SW128_Atom<Element>{}, make_shape(Columns{}, Depth{}));
  alignas(1024) __shared__ Element left_memory[kRows * kDepth];
  alignas(1024) __shared__ Element right_memory[kColumns * kDepth];
  const auto left_shared = make_tensor(make_smem_ptr(left_memory), left_layout);
  const auto right_shared = make_tensor(make_smem_ptr(right_memory), right_layout);
  for (int i = threadIdx.x; i < size(left); i += blockDim.x) {
    left_shared(i / kDepth, i % kDepth) = left(i / kDepth, i % kDepth);
  }
  for (int i = threadIdx.x; i < size(right); i += blockDim.x) {
    right_shared(i / kDepth, i % kDepth) = right(i / kDepth, i % kDepth);
  }
  tma_store_fence();  // wgmma reads shared memory through the asynchronous proxy
  __syncthreads();
  const auto mma = make_tiled_mma(SM90_64x16x16_F32F16F16_SS<GMMA::Major::K, GMMA::Major::K>{});
  const auto thread = mma.get_thread_slice(threadIdx.x);
  const auto left_part = thread.make_fragment_A(thread.partition_A(left_shared));
  const auto right_part = thread.make_fragment_B(thread.partition_B(right_shared));
  auto part = thread.partition_C(out);
  auto total = thread.make_fragment_C(part);
  clear(total);
  warpgroup_fence_operand(total);
  warpgroup_arrive();
  gemm(mma, left_part, right_part, total);
  warpgroup_commit_batch();
  warpgroup_wait<0>();
  warpgroup_fence_operand(total);
  copy(total, part);
#else
#if __CUDA_ARCH__ >= 800
  using Atom = SM80_16x8x16_F32F16F16F32_TN;
#else
  using Atom = SM75_16x8x8_F32F16F16F32_TN;
#endif
  const auto mma = make_tiled_mma(Atom{}, Layout<Shape<_4, _1, _1>>{});
  const auto thread = mma.get_thread_slice(threadIdx.x);
  auto left_part = thread.partition_fragment_A(left);
  auto right_part = thread.partition_fragment_B(right);
  auto part = thread.partition_C(out);
  auto total = thread.make_fragment_C(part);
  copy(thread.partition_A(left), left_part);
  copy(thread.partition_B(right), right_part);
  clear(total);
  gemm(mma, left_part, right_part, total);
  copy(total, part);
#endif
}
