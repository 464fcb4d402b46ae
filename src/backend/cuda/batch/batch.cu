#include <algorithm>
#include <utility>

#include "backend/cuda/batch/batch.h"
#include "backend/cuda/batch/batch_mix.h"
#include "backend/cuda/batch/batch_norm.h"

namespace qwen35::cuda {
namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

BatchPasses::BatchPasses(const DeviceModel& model, const DeviceInfo& device, bool graphs)
    : model_(model),
      device_{static_cast<std::uint32_t>(device.multiprocessors), static_cast<std::uint32_t>(device.shared_bytes),
              device.major >= 9},
      graphs_(graphs),
      args_(sizeof(DecodeArgs)) {}

BatchPasses::~BatchPasses() {
  if (life_ != device_life()) return;  // they went with the device
  for (auto& [key, graph] : recorded_) (void)cudaGraphExecDestroy(graph);
}

const std::vector<BatchProduct>& BatchPasses::products(std::uint32_t groups) {
  std::vector<BatchProduct>& plan = products_[groups];
  if (!plan.empty()) return plan;
  std::vector<BatchProduct> made;
  const auto add = [&](const Matrix& m, Step step, std::uint32_t ring_layer) {
    made.push_back(plan_product(m, step, ring_layer, groups, device_));
    prepare_product(made.back(), device_);
  };
  for (const DeviceLayer& layer : model_.layers) {
    add(layer.in, Step::in, layer.linear ? layer.index : ~0U);
    add(layer.out, Step::out, ~0U);
    add(layer.gate_up, Step::gate_up, ~0U);
    add(layer.down, Step::down, ~0U);
  }
  add(model_.head, Step::head, ~0U);
  plan = std::move(made);
  return plan;
}

void BatchPasses::reserve(std::uint32_t splits, cudaStream_t stream) {
  const ModelSizes& s = model_.sizes;
  if (memory_.bytes() == 0) {
    buffers_.in_floats =
        std::max(s.linear_layers > 0 ? s.linear_in_rows() : 0, s.full_layers > 0 ? s.full_in_rows() : 0);
    buffers_.in_floats = (buffers_.in_floats + 1) / 2 * 2;
    buffers_.mixed_floats = std::max(s.z_floats(), s.heads * s.head_dim);
    const auto padded = [](std::uint32_t n) { return (n + kUnitColumns - 1) / kUnitColumns * kUnitColumns; };
    void* x = nullptr;
    void* acts[3] = {};
    const std::pair<void**, std::size_t> places[] = {{&buffers_.in[0], buffers_.in_floats},
                                                     {&buffers_.out[0], std::size_t{kStrands} * s.hidden},
                                                     {&buffers_.down[0], std::size_t{kStrands} * s.hidden},
                                                     {&x, s.hidden},
                                                     {&acts[0], padded(s.hidden)},
                                                     {&acts[1], padded(buffers_.mixed_floats)},
                                                     {&acts[2], padded(s.intermediate)}};
    std::size_t bytes = 0;
    for (const auto& [place, words] : places) bytes += aligned(words * 4 * kPassRows);
    memory_ = DeviceMemory(bytes);
    // Columns and rows of activations that nobody writes stay zero.
    check(cudaMemsetAsync(memory_.data(), 0, bytes, stream), "clearing buffers");
    auto* at = memory_.as<std::uint8_t>();
    for (const auto& [place, words] : places) {
      *place = at;
      at += aligned(words * 4 * kPassRows);
    }
    buffers_.x = static_cast<float*>(x);
    buffers_.act_x = static_cast<std::uint32_t*>(acts[0]);
    buffers_.act_mixed = static_cast<std::uint32_t*>(acts[1]);
    buffers_.act_inner = static_cast<std::uint32_t*>(acts[2]);
  }
  if (s.full_layers > 0 && splits_ < splits) {
    splits = std::max({splits + splits / 2, std::uint32_t{8}});
    const std::size_t heads = std::size_t{kPassRows} * s.heads * splits;
    const std::size_t part = aligned(heads * s.head_dim * 4);
    splits_ = 0;
    parts_.reserve(part + aligned(heads * 2 * 4));
    buffers_.part[0] = parts_.data();
    buffers_.scale[0] = parts_.as<std::uint8_t>() + part;
    splits_ = splits;
  }
}

void BatchPasses::put_args(DecodeArgs& args, std::uint32_t splits, cudaStream_t stream) {
  reserve(splits, stream);
  args.buffers = buffers_;
  args.splits = splits_;
  check(cudaMemcpyAsync(args_.data(), &args, sizeof(args), cudaMemcpyHostToDevice, stream), "copying a pass");
}

void BatchPasses::launch_head(const BatchProduct& plan, bool given, cudaStream_t stream) {
  const DecodeArgs* const pass = args_.as<const DecodeArgs>();
  BatchNorm norm;
  norm.from = given ? BatchNorm::From::given : BatchNorm::From::down;
  if (!given) norm.factor = model_.layers.back().down.factor;
  norm.weights = model_.final_norm;
  norm.units = plan.m.units;
  launch_norm(pass, norm, plan.groups_all, model_.sizes.hidden, device_.early && !given, stream);
  launch_product(pass, plan, device_.early, stream);
}

void BatchPasses::launch_pass(const std::vector<BatchProduct>& plan, bool combine, bool head, cudaStream_t stream) {
  const DecodeArgs* const pass = args_.as<const DecodeArgs>();
  const std::uint32_t groups = plan.front().groups_all;
  const std::uint32_t hidden = model_.sizes.hidden;
  const BatchGrid grid{groups * kGroupRows, device_.multiprocessors, combine, device_.early};
  for (std::uint32_t i = 0; i < model_.layers.size(); ++i) {
    const DeviceLayer& layer = model_.layers[i];
    const BatchProduct* const products = &plan[std::size_t{4} * i];
    BatchNorm norm;
    norm.from = i == 0 ? BatchNorm::From::embedding : BatchNorm::From::down;
    norm.factor = i == 0 ? 1.0F : model_.layers[i - 1].down.factor;
    norm.weights = layer.input_norm;
    norm.units = layer.in.units;
    // The first kernel waits for everything before it: those after it may then read what earlier passes have left.
    launch_norm(pass, norm, groups, hidden, device_.early && i != 0, stream);
    launch_product(pass, products[0], device_.early, stream);
    batch_mix(pass, model_, i, grid, stream);
    launch_product(pass, products[1], device_.early, stream);
    norm.from = BatchNorm::From::out;
    norm.factor = layer.out.factor;
    norm.weights = layer.post_norm;
    norm.units = layer.gate_up.units;
    launch_norm(pass, norm, groups, hidden, device_.early, stream);
    launch_product(pass, products[2], device_.early, stream);
    launch_product(pass, products[3], device_.early, stream);
  }
  if (head) launch_head(plan.back(), false, stream);
}

void BatchPasses::run(DecodeArgs& args, std::uint32_t splits, cudaStream_t stream) {
  const std::uint32_t groups = (args.rows + kGroupRows - 1) / kGroupRows;
  const std::vector<BatchProduct>& plan = products(groups);
  put_args(args, splits, stream);
  const bool combine = args.combine != 0;
  const bool head = args.logits != nullptr;
  if (!graphs_) return launch_pass(plan, combine, head, stream);
  cudaGraphExec_t& exec = recorded_[{groups, combine, head}];
  if (exec == nullptr) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a decode pass");
    try {
      launch_pass(plan, combine, head, stream);
    } catch (...) {
      (void)cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) (void)cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "recording a decode pass");
    const cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
    (void)cudaGraphDestroy(graph);
    if (status != cudaSuccess) exec = nullptr;
    check(status, "preparing a decode pass");
  }
  check(cudaGraphLaunch(exec, stream), "starting a decode pass");
}

void BatchPasses::head(DecodeArgs& args, const float* x, std::uint32_t count, float* logits, cudaStream_t stream) {
  for (std::uint32_t i = 0; i < kPassRows; ++i) args.logit_row[i] = static_cast<std::int16_t>(i);
  for (std::uint32_t begin = 0; begin < count; begin += kPassRows) {
    args.rows = std::min(kPassRows, count - begin);
    args.head_x = x + std::size_t{begin} * model_.sizes.hidden;
    args.logits = logits + std::size_t{begin} * model_.sizes.vocabulary;
    put_args(args, 1, stream);
    launch_head(products((args.rows + kGroupRows - 1) / kGroupRows).back(), true, stream);
  }
}

std::size_t BatchPasses::memory_bytes() const { return args_.bytes() + memory_.bytes() + parts_.bytes(); }

}  // namespace qwen35::cuda
