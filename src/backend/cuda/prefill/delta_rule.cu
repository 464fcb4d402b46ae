#include <qwen35/error.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "backend/cuda/pieces/launch.cuh"
#include "backend/cuda/prefill/delta_rule.h"
#include "backend/cuda/prefill/delta_rule_kernels.cuh"
#include "backend/cuda/prefill/delta_rule_scan.cuh"

namespace qwen35::cuda {
namespace {

/// Multiples of 256 bytes, so that every part of the scratch memory is aligned for any access.
std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

template <int kKeyDim, int kTaps>
void launch_prepare(const DeltaRuleArguments& a, bool early, cudaStream_t stream) {
  constexpr std::size_t kShared = PrepareShared<kKeyDim>::kBytes;
  allow_shared(prepare_chunks<kKeyDim, kTaps>, kShared, "giving the delta rule's preparation its shared memory");
  launch(prepare_chunks<kKeyDim, kTaps>, dim3(a.value_heads, a.chunks), kPrepareThreads, kShared, stream, early,
         "starting the delta rule's preparation", a);
}

template <int kKeyDim, int kSlices, bool kDouble>
void launch_scan(const DeltaRuleArguments& a, bool early, cudaStream_t stream) {
  constexpr std::size_t kShared = ScanShared<kKeyDim, kSlices, kDouble>::kBytes;
  allow_shared(scan_chunks<kKeyDim, kSlices, kDouble>, kShared, "giving the delta rule's scan its shared memory");
  launch(scan_chunks<kKeyDim, kSlices, kDouble>, dim3(a.value_dim / (16 * kSlices), a.value_heads), 128 * kSlices,
         kShared, stream, early, "starting the delta rule's scan", a);
}

template <int kKeyDim, int kSlices>
void scan(const DeltaRuleArguments& a, std::uint32_t shared_bytes, bool early, cudaStream_t stream) {
  if (ScanShared<kKeyDim, kSlices, true>::kBytes <= shared_bytes) {
    launch_scan<kKeyDim, kSlices, true>(a, early, stream);
  } else {
    launch_scan<kKeyDim, kSlices, false>(a, early, stream);
  }
}

template <int kKeyDim>
void run_kernels(const DeltaRuleArguments& a, std::uint32_t slices, std::uint32_t shared_bytes, bool early,
                 cudaStream_t stream) {
  if (a.taps <= 4) {
    launch_prepare<kKeyDim, 4>(a, early, stream);
  } else {
    launch_prepare<kKeyDim, 8>(a, early, stream);
  }
  // Two slices in a block need more shared memory than the smallest GPUs have.
  if (slices == 2 && ScanShared<kKeyDim, 2, false>::kBytes <= shared_bytes) {
    scan<kKeyDim, 2>(a, shared_bytes, early, stream);
  } else {
    scan<kKeyDim, 1>(a, shared_bytes, early, stream);
  }
}

}  // namespace

DeltaRule::DeltaRule(const DeviceModel& model, const DeviceInfo& device, std::uint32_t slices)
    : model_(model), shared_bytes_(static_cast<std::uint32_t>(device.shared_bytes)), early_(device.major >= 9) {
  const ModelSizes& sizes = model.sizes;
  if (sizes.key_dim != 32 && sizes.key_dim != 64 && sizes.key_dim != 128) {
    throw Error(ErrorCode::unsupported, "linear_key_head_dim is " + std::to_string(sizes.key_dim) +
                                            "; the CUDA backend takes 32, 64 or 128: use --backend cpu");
  }
  if (sizes.value_dim % 16 != 0 || sizes.conv_kernel < 2 || sizes.conv_kernel > 8) {
    throw Error(ErrorCode::unsupported, "linear_value_head_dim is " + std::to_string(sizes.value_dim) +
                                            " and linear_conv_kernel_dim " + std::to_string(sizes.conv_kernel) +
                                            "; the CUDA backend takes multiples of 16 and 2 to 8: use --backend cpu");
  }
  // Two slices share what is read of a chunk, at half the blocks; that is better where the blocks nearly fill the GPU.
  const bool many =
      sizes.value_heads * (sizes.value_dim / 16) * 4 > static_cast<std::uint32_t>(device.multiprocessors) * 3;
  slices_ = slices != 0 ? slices : many ? 2 : 1;
  if (sizes.value_dim % 32 != 0) slices_ = 1;
}

void DeltaRule::run(const DeviceLayer& layer, const float* in, const SequenceView& sequence, __half* hi, __half* lo,
                    std::uint32_t stride, cudaStream_t stream) {
  const ModelSizes& sizes = model_.sizes;
  if (sequence.count == 0) return;
  DeltaRuleArguments a;
  a.in = in;
  a.conv = layer.conv;
  a.decay = layer.decay;
  a.dt_bias = layer.dt_bias;
  a.gated_norm = layer.gated_norm;
  const std::size_t s_offset = std::size_t{layer.index} * sizes.s_floats();
  a.s_in = sequence.s_in == nullptr ? nullptr : sequence.s_in + s_offset;
  a.s_out = sequence.s_out + s_offset;
  a.ring = sequence.ring + std::size_t{layer.index} * kRingRows * sizes.ring_floats();
  a.hi = hi;
  a.lo = lo;
  a.stride = stride;
  a.position = static_cast<int>(sequence.position);
  a.count = static_cast<int>(sequence.count);
  a.chunks = (sequence.count + kDeltaChunk - 1) / kDeltaChunk;
  a.key_heads = sizes.key_heads;
  a.value_heads = sizes.value_heads;
  a.value_dim = sizes.value_dim;
  a.channels = sizes.conv_channels();
  a.ring_floats = sizes.ring_floats();
  a.in_rows = sizes.linear_in_rows();
  a.taps = static_cast<int>(sizes.conv_kernel);
  a.eps = sizes.eps;
  a.vectors = a.in_rows % 4 == 0 && a.ring_floats % 4 == 0 && stride % 4 == 0 && aligned(in) && aligned(a.ring) &&
              aligned(hi) && aligned(lo);

  const std::size_t keys = rounded(std::size_t{a.chunks} * a.key_heads * kDeltaChunk * sizes.key_dim * 4);
  const std::size_t triangles = rounded(std::size_t{a.chunks} * a.value_heads * kTriangleBytes);
  const std::size_t gates = rounded(std::size_t{a.chunks} * a.value_heads * 3 * kDeltaChunk * sizeof(float));
  const std::size_t values = rounded(std::size_t{a.chunks} * kDeltaChunk * sizes.z_floats() * sizeof(float));
  scratch_.reserve(2 * keys + 2 * triangles + gates + values);
  auto* at = scratch_.as<std::uint8_t>();
  a.q = at;
  a.k = at += keys;
  a.inverse = at += keys;
  a.scores = at += triangles;
  a.gates = reinterpret_cast<float*>(at += triangles);
  a.values = reinterpret_cast<float*>(at += gates);

  if (sizes.key_dim == 128) {
    run_kernels<128>(a, slices_, shared_bytes_, early_, stream);
  } else if (sizes.key_dim == 64) {
    run_kernels<64>(a, slices_, shared_bytes_, early_, stream);
  } else {
    run_kernels<32>(a, slices_, shared_bytes_, early_, stream);
  }
  const std::uint32_t rows = (sequence.count * sizes.value_heads + kNormWarps - 1) / kNormWarps;
  const std::uint32_t row_blocks = (a.ring_floats + 128 * kNormWarps - 1) / (128 * kNormWarps);
  launch(gate_results, dim3(rows + std::min(sequence.count, kRingRows) * row_blocks), 32 * kNormWarps, 0, stream,
         early_, "starting the gated norm", a, rows, row_blocks);
}

}  // namespace qwen35::cuda
