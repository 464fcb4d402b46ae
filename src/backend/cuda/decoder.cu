#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "backend/cuda/batch/batch.h"
#include "backend/cuda/decode/decode_kernels.h"
#include "backend/cuda/decode/decode_step.cuh"
#include "backend/cuda/decoder.h"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kSumBytes = 16384;

std::uint32_t aligned(std::uint32_t bytes) { return (bytes + 127) / 128 * 128; }

/// Conversations that a persistent pass takes: their mixers come one after the other there, which from six on costs
/// more than the kernels of a batch do.
constexpr std::size_t kPersistentSequences = 5;

enum class Design { persistent, graph, launches };

/// For measuring, and for finding faults: QWEN35_CUDA_DECODE = persistent, graph or launches.
Design design(bool cooperative) {
  const char* const wanted = std::getenv("QWEN35_CUDA_DECODE");
  if (wanted != nullptr && std::string_view(wanted) == "graph") return Design::graph;
  if (wanted != nullptr && std::string_view(wanted) == "launches") return Design::launches;
  return cooperative ? Design::persistent : Design::graph;
}

/// For the race checker, which does not see that a warp's lanes have met before one of them arrives at a barrier:
/// QWEN35_CUDA_ARRIVALS = all.
std::uint32_t arriving_lanes() {
  const char* const wanted = std::getenv("QWEN35_CUDA_ARRIVALS");
  return wanted != nullptr && std::string_view(wanted) == "all" ? kLanes : 1;
}

/// The kernels for a model, unless QWEN35_CUDA_KERNELS asks for others: any, or ringless.
DecodeKernels choose_kernels(const DeviceModel& model, const DeviceInfo& device) {
  const char* const asked = std::getenv("QWEN35_CUDA_KERNELS");
  const std::string_view wanted = asked == nullptr ? "" : asked;
  if (device.major < 9 || wanted == "ringless") return any_kernels(false);
  const std::uint32_t bits = model.head.bits;
  const std::uint32_t group = bits == 16 ? 0 : 64;
  const auto same = [&](const Matrix& m) { return m.bits == bits && m.group == group; };
  bool fits = wanted != "any" && Shape08B::is(model.sizes) && same(model.head) &&
              model.layers.size() * sizeof(DeviceLayer) <= kLayersBytes;
  for (const DeviceLayer& layer : model.layers)
    fits = fits && same(layer.in) && same(layer.out) && same(layer.gate_up) && same(layer.down);
  if (fits && bits == 16) return kernels_16();
  if (fits && bits == 4) return kernels_4();
  if (fits && bits == 5) return kernels_5();
  if (fits && bits == 8) return kernels_8();
  return any_kernels(true);
}

}  // namespace

struct Decoder::Impl {
  Impl(const DeviceModel& device_model, const DeviceInfo& device_info)
      : model(device_model),
        info(device_info),
        kernels(choose_kernels(device_model, device_info)),
        ring(kernels.ring),
        wanted(design(device_info.cooperative)),
        batches(device_model, device_info, wanted != Design::launches) {
    const ModelSizes& s = model.sizes;
    widest = 0;
    tiles = model.head.tiles;
    for (const DeviceLayer& layer : model.layers) {
      tiles = std::min(tiles, layer.gate_up.tiles);
      for (const Matrix* m : {&layer.in, &layer.out, &layer.gate_up, &layer.down}) {
        widest = std::max(widest, m->units * kUnitColumns);
        unit_bytes = std::max(unit_bytes, m->unit_bytes);
      }
    }
    unit_bytes = std::max(unit_bytes, model.head.unit_bytes);
    widest = std::max(widest, model.head.units * kUnitColumns);
    in_floats = std::max(s.linear_layers > 0 ? s.linear_in_rows() : 0, s.full_layers > 0 ? s.full_in_rows() : 0);
    in_floats = (in_floats + 1) / 2 * 2;
    mixed_floats = std::max(s.z_floats(), s.heads * s.head_dim);
    group = kGroupRows;
    const auto fits = [&](std::uint32_t rows) { return layout(rows).bytes <= info.shared_bytes; };
    while (group > 1 && !fits(group)) group /= 2;
    if (ring && !fits(group)) {  // rows too wide for any ring
      kernels = any_kernels(false);
      ring = false;
      group = kGroupRows;
      while (group > 1 && !fits(group)) group /= 2;
    }
    layers = DeviceMemory(model.layers.size() * sizeof(DeviceLayer));
    check(cudaMemcpy(layers.data(), model.layers.data(), layers.bytes(), cudaMemcpyHostToDevice), "copying the layers");
    const auto most = static_cast<int>(info.shared_bytes);
    const auto allow = [&](const void* kernel) {
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), "preparing kernels");
    };
    allow(reinterpret_cast<const void*>(kernels.pass_one));
    allow(reinterpret_cast<const void*>(kernels.pass));
    allow(reinterpret_cast<const void*>(kernels.replay));
    blocks = std::min(static_cast<std::uint32_t>(info.multiprocessors), tiles);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] std::uint32_t layer_bytes() const {
    return static_cast<std::uint32_t>(model.layers.size() * sizeof(DeviceLayer));
  }

  /// A block's memory for `rows`; with a ring as deep as the rest allows, a power of two of stages.
  [[nodiscard]] DecodeLayout layout(std::uint32_t rows) const {
    const ModelSizes& s = model.sizes;
    DecodeLayout l{};
    std::uint32_t at = 0;
    const auto take = [&](std::uint32_t bytes) {
      const std::uint32_t here = at;
      at += aligned(bytes);
      return here;
    };
    l.pass = take(sizeof(DecodeMemory));
    l.barriers = take((2U << kRingLog2) * 8);
    l.layers = layer_bytes() <= kLayersBytes ? take(layer_bytes()) : ~0U;
    l.waves = take((static_cast<std::uint32_t>(model.layers.size()) * 4 + 1) * kWavesBytes);
    l.totals = take(rows * (s.hidden / 64) * 4);
    l.rotary = take(rows * s.rotary_dim * 4);
    l.x = take(rows * s.hidden * 4);
    std::uint32_t words = fragment_words(rows, widest);
    if (s.linear_layers > 0) words = std::max(words, delta_words(s, rows));
    if (s.full_layers > 0) words = std::max(words, attention_words(s, rows));
    // Behind the activations of `in` and `out`: nothing else is there from one layer's `down` to its own.
    const std::uint32_t before = fragment_words(rows, std::max(s.hidden, s.z_floats()));
    const bool fetched = Shape08B::is(s);
    if (fetched) words = std::max({words, before + ahead_floats(rows), attention_row_words<Shape08B>(rows)});
    l.scratch = take(words * 4);
    if (fetched) l.ahead = l.scratch + before * 4;
    const std::uint32_t tile = kTileRows * rows * (widest / kUnitColumns);
    l.sum_floats = std::max(kSumBytes / 4, tile);
    l.sums = take(l.sum_floats * 4);
    l.ring = at;
    l.stage_bytes = unit_bytes * kStageUnits;
    l.arriving = arriving;
    if (ring) {
      while (l.ring_log2 < kRingLog2 && at + (std::uint64_t{l.stage_bytes} << (l.ring_log2 + 1)) <= info.shared_bytes)
        ++l.ring_log2;
      l.ring_log2 =
          std::max(l.ring_log2, 1U);  // half of the warps have a stage each; where it does not fit, fewer rows do
      at += l.stage_bytes << l.ring_log2;
    }
    l.bytes = at;
    return l;
  }

  /// Memory of the links for `rows` and `splits`, which begins with tags of no pass.
  struct Links {
    DeviceMemory memory;
    DeviceMemory parts;
    DecodeBuffers buffers{};
    std::uint32_t rows = 0;
    std::uint32_t splits = 0;
  };
  void reserve(Links& links, std::uint32_t rows, std::uint32_t splits, cudaStream_t stream) {
    const ModelSizes& s = model.sizes;
    constexpr std::size_t each = 8;  // a value and its tag
    if (links.rows < rows) {
      const std::size_t floats[] = {in_floats, mixed_floats, s.hidden, s.intermediate, s.hidden};
      std::size_t bytes = 0;
      for (const std::size_t n : floats) bytes += 2 * (n * rows * each + 256);
      links.memory.reserve(bytes);
      check(cudaMemsetAsync(links.memory.data(), 0, links.memory.bytes(), stream), "clearing buffers");
      auto* at = links.memory.as<std::uint8_t>();
      const auto take = [&](std::size_t n) {
        auto* const here = at;
        at += (n + 255) / 256 * 256;
        return here;
      };
      void** const places[] = {links.buffers.in, links.buffers.mixed, links.buffers.out, links.buffers.inner,
                               links.buffers.down};
      for (std::size_t i = 0; i < std::size(places); ++i) {
        for (int parity = 0; parity < 2; ++parity) places[i][parity] = take(floats[i] * rows * each);
      }
      links.buffers.in_floats = in_floats;
      links.buffers.mixed_floats = mixed_floats;
    }
    if (s.full_layers > 0 && (links.rows < rows || links.splits < splits)) {
      splits = std::max({splits + splits / 2, links.splits, std::uint32_t{8}});
      const std::size_t heads = std::size_t{std::max(rows, links.rows)} * s.heads * splits;
      const std::size_t part = (heads * s.head_dim * each + 255) / 256 * 256;
      const std::size_t scale = (heads * 2 * each + 255) / 256 * 256;
      links.splits = 0;
      links.parts.reserve(2 * (part + scale));
      check(cudaMemsetAsync(links.parts.data(), 0, links.parts.bytes(), stream), "clearing buffers");
      auto* const at = links.parts.as<std::uint8_t>();
      for (int parity = 0; parity < 2; ++parity) {
        links.buffers.part[parity] = at + static_cast<std::size_t>(parity) * part;
        links.buffers.scale[parity] = at + 2 * part + static_cast<std::size_t>(parity) * scale;
      }
      links.splits = splits;
    }
    links.rows = std::max(links.rows, rows);
  }

  void fill(DecodeArgs& args) const {
    args.sizes = model.sizes;
    args.layers = layers.as<const DeviceLayer>();
    args.layer_count = static_cast<std::uint32_t>(model.layers.size());
    args.embedding = model.embedding;
    args.head = model.head;
    args.final_norm = model.final_norm;
    args.frequencies = model.frequencies;
  }

  void run_persistent(DecodeArgs& args, std::uint32_t splits, cudaStream_t stream) {
    if (tag > 0xF0000000U) {  // old tags must never be taken for new ones
      tagged.rows = tagged.splits = 0;
      tag = 1;
    }
    reserve(tagged, group, splits, stream);
    args.buffers = tagged.buffers;
    args.splits = tagged.splits;
    args.tag = tag;
    tag += args.layer_count + 1;
    const DecodeLayout l = layout(args.rows);
    args.trace = trace.as<long long>();
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(ring ? kRingThreads : kThreads);
    config.dynamicSmemBytes = l.bytes;
    config.stream = stream;
    cudaLaunchAttribute cooperative{};
    cooperative.id = cudaLaunchAttributeCooperative;
    cooperative.val.cooperative = 1;
    config.attrs = &cooperative;
    config.numAttrs = 1;
    check(cudaLaunchKernelEx(&config, args.rows == 1 ? kernels.pass_one : kernels.pass, args, l),
          "starting a decode pass");
  }

  const DeviceModel& model;
  DeviceInfo info;
  DecodeKernels kernels;
  bool ring;
  std::uint32_t arriving = arriving_lanes();
  Design wanted;
  std::uint32_t widest = 0;      ///< columns of a product, whole units
  std::uint32_t unit_bytes = 0;  ///< the largest
  std::uint32_t tiles = 0;       ///< of the smallest product of which every block must have a part
  std::uint32_t in_floats = 0, mixed_floats = 0;
  std::uint32_t group = 0;  ///< rows that a block computes together
  std::uint32_t blocks = 0;
  std::uint32_t tag = 1;
  DeviceMemory trace;  ///< empty unless somebody measures
  DeviceMemory layers;
  Links tagged;
  BatchPasses batches;
};

Decoder::Decoder(const DeviceModel& model, const DeviceInfo& device) : impl_(std::make_unique<Impl>(model, device)) {}
Decoder::~Decoder() = default;

std::uint32_t Decoder::few() const { return impl_->group; }

void Decoder::forward(std::span<const SequenceView> sequences, std::span<const TokenId> tokens,
                      std::span<const std::uint32_t> wanted, float* logits, cudaStream_t stream) {
  static_assert(most() == kPassRows);
  DecodeArgs args{};
  impl_->fill(args);
  args.rows = static_cast<std::uint32_t>(tokens.size());
  args.sequences = static_cast<std::uint32_t>(sequences.size());
  args.logits = wanted.empty() ? nullptr : logits;
  std::uint32_t splits = 1;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    args.sequence[i] = sequences[i];
    splits = std::max(splits, (sequences[i].position + sequences[i].count - 1) / kSplitKeys + 1);
    for (std::uint32_t t = 0; t < sequences[i].count; ++t)
      args.sequence_of[sequences[i].first + t] = static_cast<std::uint8_t>(i);
  }
  args.combine = splits > 1 ? 1 : 0;
  std::copy(tokens.begin(), tokens.end(), args.token);
  std::fill(std::begin(args.logit_row), std::end(args.logit_row), std::int16_t{-1});
  for (std::size_t i = 0; i < wanted.size(); ++i) args.logit_row[wanted[i]] = static_cast<std::int16_t>(i);
  if (impl_->wanted == Design::persistent && args.rows <= impl_->group && args.sequences <= kPersistentSequences) {
    impl_->run_persistent(args, splits, stream);
  } else {
    impl_->batches.run(args, splits, stream);
  }
}

void Decoder::head(const float* x, std::uint32_t count, float* logits, cudaStream_t stream) {
  DecodeArgs args{};
  impl_->fill(args);
  impl_->batches.head(args, x, count, logits, stream);
}

void Decoder::replay(const SequenceView& sequence, cudaStream_t stream) {
  const ModelSizes& s = impl_->model.sizes;
  if (s.linear_layers == 0 || sequence.count == 0) return;
  const dim3 grid(delta_items(s), static_cast<std::uint32_t>(impl_->model.layers.size()));
  impl_->kernels.replay<<<grid, kThreads, delta_words(s, sequence.count) * 4, stream>>>(
      s, impl_->layers.as<const DeviceLayer>(), sequence);
  check(cudaGetLastError(), "computing a state again");
}

std::vector<long long> Decoder::trace() {
#if defined(QWEN35_CUDA_TRACE)
  Impl& i = *impl_;
  if (i.trace.bytes() == 0) {
    i.trace = DeviceMemory((i.model.layers.size() * 9 + 3) * sizeof(long long));
    check(cudaMemset(i.trace.data(), 0, i.trace.bytes()), "clearing the trace");
  }
  std::vector<long long> stamps(i.trace.bytes() / sizeof(long long));
  check(cudaMemcpy(stamps.data(), i.trace.data(), i.trace.bytes(), cudaMemcpyDeviceToHost), "copying the trace");
  return stamps;
#else
  return {};
#endif
}

std::size_t Decoder::memory_bytes() const {
  return impl_->layers.bytes() + impl_->tagged.memory.bytes() + impl_->tagged.parts.bytes() +
         impl_->batches.memory_bytes();
}

}  // namespace qwen35::cuda
