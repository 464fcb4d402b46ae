// Products of decode passes over many rows, of the 0.8B shape, over random weights: what each takes by itself, in the
// shape that is chosen and in the fastest of all.
//     cuda_batch [BITS [GROUPS ...]]     groups of eight rows
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "backend/cuda/batch/batch_norm.h"
#include "backend/cuda/batch/batch_product.h"
#include "backend/cuda/device/device.h"

namespace {

using namespace qwen35;        // NOLINT
using namespace qwen35::cuda;  // NOLINT

constexpr std::uint32_t kCopies = 24;  // of the weights: what is read again has left the cache

/// Microseconds of one of `count` kernels that `launch(i)` puts on the stream, played as a graph.
template <typename Launch>
double time_of(std::uint32_t count, cudaStream_t stream, const Launch& launch) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording");
  for (std::uint32_t i = 0; i < count; ++i) launch(i);
  check(cudaStreamEndCapture(stream, &graph), "recording");
  check(cudaGraphInstantiate(&exec, graph, 0), "preparing");
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  check(cudaEventCreate(&begin), "making an event");
  check(cudaEventCreate(&end), "making an event");
  std::vector<float> times;
  for (int run = 0; run < 7; ++run) {
    check(cudaEventRecord(begin, stream), "timing");
    check(cudaGraphLaunch(exec, stream), "starting");
    check(cudaEventRecord(end, stream), "timing");
    check(cudaEventSynchronize(end), "waiting");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "timing");
    if (run > 1) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  check(cudaEventDestroy(begin), "ending");
  check(cudaEventDestroy(end), "ending");
  check(cudaGraphExecDestroy(exec), "ending");
  check(cudaGraphDestroy(graph), "ending");
  return 1e3 * static_cast<double>(times[times.size() / 2]) / count;
}

void print(const char* what, const BatchProduct& p, double us) {
  std::printf(
      "   %s %.1f us (%.1f thought): %u tiles x %u groups (%u a warp, %u warps), %u x %u x %u blocks, %u stages%s\n",
      what, us, p.cycles / 1.7e3, p.tiles, p.groups, p.warp_groups, p.warps(), p.blocks,
      (p.groups_all + p.groups - 1) / p.groups, p.split ? kStrands : 1, p.stages, p.resident ? "" : ", streamed");
}

int run(int argc, char** argv) {
  if (const std::string why = why_unusable(); !why.empty()) {
    std::printf("%s\n", why.c_str());
    return 1;
  }
  const DeviceInfo info = device_info();
  const BatchDevice device{static_cast<std::uint32_t>(info.multiprocessors),
                           static_cast<std::uint32_t>(info.shared_bytes), info.major >= 9};
  const auto bits = static_cast<std::uint32_t>(argc > 1 ? std::atoi(argv[1]) : 4);
  std::vector<std::uint32_t> all_groups;
  for (int i = 2; i < argc; ++i) all_groups.push_back(static_cast<std::uint32_t>(std::atoi(argv[i])));
  if (all_groups.empty()) all_groups = {1, 2, 4, 8};
  std::setvbuf(stdout, nullptr, _IOLBF, 0);

  constexpr std::uint32_t kRows = 248320;
  const DeviceMemory out(std::size_t{kPassRows} * kRows * 4);
  const DeviceMemory act(std::size_t{kPassRows} * 4096 * 4);
  const DeviceMemory inner(std::size_t{kPassRows} * 4096 * 4);
  const DeviceMemory ring(std::size_t{kPassRows} * kRingRows * 6176 * 4);
  const DeviceMemory norm(4096 * 4);
  for (const DeviceMemory* m : {&out, &act, &inner, &norm}) check(cudaMemset(m->data(), 0, m->bytes()), "clearing");
  DecodeArgs args{};
  ModelSizes& s = args.sizes;
  s.hidden = 1024, s.intermediate = 3584, s.vocabulary = kRows;
  s.key_heads = s.value_heads = 16, s.key_dim = s.value_dim = 128;
  s.eps = 1e-6F;
  args.buffers.in[0] = args.buffers.out[0] = args.buffers.down[0] = out.data();
  args.buffers.x = out.as<float>() + 16 * kPassRows * 1024;
  args.buffers.act_x = args.buffers.act_mixed = act.as<std::uint32_t>();
  args.buffers.act_inner = inner.as<std::uint32_t>();
  args.buffers.in_floats = 8224;
  args.logits = out.as<float>();
  args.sequences = kPassRows;
  for (std::uint32_t row = 0; row < kPassRows; ++row) {
    args.sequence_of[row] = static_cast<std::uint8_t>(row);
    args.sequence[row].first = row;
    args.sequence[row].ring = ring.as<float>() + std::size_t{row} * kRingRows * s.ring_floats();
    args.logit_row[row] = static_cast<std::int16_t>(row);
  }
  const DeviceMemory pass(sizeof(args));
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");

  struct Kind {
    const char* name;
    Step step;
    std::uint32_t rows, columns;
  };
  constexpr Kind kKinds[] = {{"in", Step::in, 8224, 1024},
                             {"out", Step::out, 1024, 2048},
                             {"gate_up", Step::gate_up, 7168, 1024},
                             {"down", Step::down, 1024, 3584},
                             {"head", Step::head, kRows, 1024}};
  for (const Kind& kind : kKinds) {
    Matrix m;
    m.rows = kind.rows, m.columns = kind.columns;
    m.tiles = kind.rows / kTileRows, m.units = kind.columns / kUnitColumns;
    m.bits = bits, m.group = bits == 16 ? 0 : 64;
    m.unit_bytes = value_bytes(bits) + scale_bytes(bits, 64);
    const std::size_t bytes = std::size_t{m.tiles} * m.units * m.unit_bytes;
    const std::uint32_t copies = kind.step == Step::head ? 1 : kCopies;
    const DeviceMemory weights(bytes * copies);
    check(cudaMemset(weights.data(), 0, weights.bytes()), "clearing");
    for (const std::uint32_t groups : all_groups) {
      args.rows = groups * kGroupRows;
      check(cudaMemcpy(pass.data(), &args, sizeof(args), cudaMemcpyHostToDevice), "copying");
      const auto time = [&](const BatchProduct& plan) {
        prepare_product(plan, device);
        return time_of(copies, stream, [&](std::uint32_t i) {
          BatchProduct product = plan;
          product.m.data = weights.as<const std::uint8_t>() + i * bytes;
          launch_product(pass.as<const DecodeArgs>(), product, device.early && i != 0, stream);
        });
      };
      const std::uint32_t ring_layer = kind.step == Step::in ? 0 : ~0U;
      const BatchProduct chosen = plan_product(m, kind.step, ring_layer, groups, device);
      std::printf("%u bits, %s, %u rows\n", bits, kind.name, args.rows);
      print("chosen ", chosen, time(chosen));
      BatchProduct best;
      double least = 1e9;
      for (const BatchProduct& plan : product_plans(m, kind.step, ring_layer, groups, device)) {
        const double us = time(plan);
        if (us < least) least = us, best = plan;
      }
      print("fastest", best, least);
    }
  }
  for (const std::uint32_t groups : all_groups) {
    args.rows = groups * kGroupRows;
    check(cudaMemcpy(pass.data(), &args, sizeof(args), cudaMemcpyHostToDevice), "copying");
    BatchNorm plan;
    plan.from = BatchNorm::From::out;
    plan.weights = norm.as<float>();
    plan.units = s.hidden / kUnitColumns;
    std::printf("norm, %u rows: %.1f us\n", args.rows, time_of(kCopies, stream, [&](std::uint32_t i) {
                  launch_norm(pass.as<const DecodeArgs>(), plan, groups, s.hidden, device.early && i != 0, stream);
                }));
  }
  check(cudaStreamDestroy(stream), "ending a stream");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
