#include <qwen35/error.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "backend/cuda/prefill/attention.h"
#include "backend/cuda/prefill/delta_rule.h"
#include "backend/cuda/prefill/prefill.h"
#include "backend/cuda/prefill/product.h"
#include "backend/cuda/prefill/rows.h"

namespace qwen35::cuda {
namespace {

/// The pinned copy of a pass's tokens, and when the device has read it.
class Staging {
 public:
  Staging() {
    check(cudaMallocHost(&tokens_, Prefill::kMost * sizeof(TokenId)), "asking for pinned memory");
    const cudaError_t status = cudaEventCreateWithFlags(&read_, cudaEventDisableTiming);
    if (status != cudaSuccess) (void)cudaFreeHost(tokens_);
    check(status, "making an event");
  }
  ~Staging() {
    if (life_ != device_life()) return;  // it went with the device
    (void)cudaEventSynchronize(read_);
    (void)cudaEventDestroy(read_);
    (void)cudaFreeHost(tokens_);
    (void)cudaGetLastError();
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void copy(std::span<const TokenId> tokens, TokenId* to, cudaStream_t stream) {
    check(cudaEventSynchronize(read_), "waiting for the tokens before");  // at once when nothing was recorded
    std::memcpy(tokens_, tokens.data(), tokens.size_bytes());
    check(cudaMemcpyAsync(to, tokens_, tokens.size_bytes(), cudaMemcpyHostToDevice, stream), "copying tokens");
    check(cudaEventRecord(read_, stream), "recording an event");
  }

 private:
  TokenId* tokens_ = nullptr;
  cudaEvent_t read_ = nullptr;
  std::uint64_t life_ = device_life();
};

/// hi and lo of `tokens` rows, zeros at first: what nobody writes are columns past a matrix's own.
struct PairMemory {
  DeviceMemory memory;
  HalfPair pair;

  void grow(std::uint32_t tokens, std::uint32_t columns, cudaStream_t stream) {
    const std::size_t halves = std::size_t{tokens} * padded(columns);
    if (memory.bytes() < 2 * halves * sizeof(__half)) {
      memory.reserve(2 * halves * sizeof(__half));
      check(cudaMemsetAsync(memory.data(), 0, memory.bytes(), stream), "clearing activations");
    }
    pair = {memory.as<__half>(), memory.as<__half>() + halves, padded(columns)};
  }
};

}  // namespace

struct Prefill::Impl {
  Impl(const DeviceModel& device_model, const DeviceInfo& device)
      : model(device_model),
        products(device),
        delta_rule(device_model, device),
        attention(device_model, device),
        early(device.major >= 9) {}

  const DeviceModel& model;
  Products products;
  DeltaRule delta_rule;
  Attention attention;
  Staging staging;
  bool early = false;  ///< launch.cuh

  std::uint32_t room = 0;   ///< tokens that the buffers hold
  DeviceMemory ids;         ///< room
  DeviceMemory x;           ///< room × hidden floats: the residual stream
  DeviceMemory in;          ///< room × rows of the widest input product, floats
  PairMemory normed;        ///< room × hidden
  PairMemory linear, full;  ///< room × what a mixer of the kind gives
  PairMemory h;             ///< room × intermediate

  void grow(std::uint32_t tokens, cudaStream_t stream) {
    if (tokens <= room) return;
    // Few sizes, so that growing texts do not ask again and again.
    std::uint32_t wanted = std::max(room, 64U);
    while (wanted < tokens) wanted *= 2;
    wanted = std::min(wanted, kMost);
    room = 0;
    const ModelSizes& sizes = model.sizes;
    const std::size_t n = wanted;
    ids.reserve(n * sizeof(TokenId));
    x.reserve(n * sizes.hidden * sizeof(float));
    in.reserve(n *
               std::max(sizes.linear_layers > 0 ? sizes.linear_in_rows() : 0,
                        sizes.full_layers > 0 ? sizes.full_in_rows() : 0) *
               sizeof(float));
    normed.grow(wanted, sizes.hidden, stream);
    if (sizes.linear_layers > 0) linear.grow(wanted, sizes.z_floats(), stream);
    if (sizes.full_layers > 0) full.grow(wanted, sizes.heads * sizes.head_dim, stream);
    h.grow(wanted, sizes.intermediate, stream);
    for (const DeviceLayer& layer : model.layers) {
      products.reserve_split(layer.out, kChunk - 1);
      products.reserve_split(layer.down, kChunk - 1);
    }
    room = wanted;
  }
};

Prefill::Prefill(const DeviceModel& model, const DeviceInfo& device) : impl_(std::make_unique<Impl>(model, device)) {}
Prefill::~Prefill() = default;

const float* Prefill::run(const SequenceView& sequence, std::span<const TokenId> tokens, const Cancellation& cancelled,
                          cudaStream_t stream) {
  if (tokens.empty() || tokens.size() > kMost || sequence.count != tokens.size() || sequence.first != 0) {
    throw Error(ErrorCode::device, "a prefill pass of " + std::to_string(tokens.size()) + " tokens (its sequence has " +
                                       std::to_string(sequence.count) + ", first " + std::to_string(sequence.first) +
                                       "); 1 to " + std::to_string(kMost) +
                                       " of one sequence were expected; this is a defect of the program");
  }
  Impl& m = *impl_;
  const ModelSizes& sizes = m.model.sizes;
  const std::uint32_t count = sequence.count;
  // What is left of a chunk at the end is summed in parts, in a long pass too: the same bits wherever a text is cut.
  const std::uint32_t whole = count - count % kChunk;
  m.grow(count, stream);
  m.staging.copy(tokens, m.ids.as<TokenId>(), stream);
  auto* x = m.x.as<float>();
  auto* in = m.in.as<float>();
  embed_rows(m.model.embedding, m.ids.as<TokenId>(), count, x, stream);
  const auto add = [&](const Matrix& w, const HalfPair& in_pair, float times) {
    const std::size_t at = std::size_t{whole} * in_pair.stride;
    const HalfPair rest{in_pair.hi + at, in_pair.lo + at, in_pair.stride};
    m.products.add(w, in_pair, whole, times, x, sizes.hidden, stream);
    m.products.add(w, rest, count - whole, times, x + std::size_t{whole} * sizes.hidden, sizes.hidden, stream,
                   ProductShape::split);
  };
  for (const DeviceLayer& layer : m.model.layers) {
    if (cancelled.requested()) return nullptr;
    norm_rows(x, layer.input_norm, sizes.eps, sizes.hidden, count, m.normed.pair, stream, m.early);
    m.products.store(layer.in, m.normed.pair, count, in, layer.in.rows, stream);
    const HalfPair& mixed = layer.linear ? m.linear.pair : m.full.pair;
    if (layer.linear) {
      m.delta_rule.run(layer, in, sequence, mixed.hi, mixed.lo, mixed.stride, stream);
    } else {
      m.attention.run(layer, in, sequence, mixed.hi, mixed.lo, mixed.stride, stream);
    }
    add(layer.out, mixed, 1);
    norm_rows(x, layer.post_norm, sizes.eps, sizes.hidden, count, m.normed.pair, stream, m.early);
    m.products.swiglu(layer.gate_up, m.normed.pair, count, m.h.pair, stream);
    add(layer.down, m.h.pair, 1 / kSwigluFactor);
  }
  return x;
}

std::size_t Prefill::memory_bytes() const {
  const Impl& m = *impl_;
  return m.ids.bytes() + m.x.bytes() + m.in.bytes() + m.normed.memory.bytes() + m.linear.memory.bytes() +
         m.full.memory.bytes() + m.h.memory.bytes() + m.products.memory_bytes() + m.delta_rule.memory_bytes() +
         m.attention.memory_bytes();
}

}  // namespace qwen35::cuda
