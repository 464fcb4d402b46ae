#include <qwen35/error.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/cuda/batch/batch_product.h"
#include "backend/cuda/device/device.h"
#include "backend/cuda/pieces/launch.cuh"

namespace qwen35::cuda {
namespace {

constexpr std::uint32_t kChunk = kGroupRows * kUnitColumns * 4;
constexpr std::uint32_t kMostStages = 32;

std::uint32_t ceil_div(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }
std::uint32_t aligned(std::uint32_t bytes) { return ceil_div(bytes, 128) * 128; }

BatchKernel kernel_of(const BatchProduct& p) {
  switch (p.m.bits) {
    case 16:
      return batch_product_16(0, p.warp_groups);
    case 4:
      return batch_product_4(p.m.group, p.warp_groups);
    case 5:
      return batch_product_5(p.m.group, p.warp_groups);
    case 6:
      return batch_product_6(p.m.group, p.warp_groups);
    case 8:
      return batch_product_8(p.m.group, p.warp_groups);
    default:
      return nullptr;
  }
}

/// Fills in where things lie in the block's memory; false where they have no room.
bool lay_out(BatchProduct& p, std::uint32_t units, std::uint32_t turns, const BatchDevice& device) {
  const std::uint32_t rows = p.groups * kGroupRows;
  const std::uint32_t most = std::min(turns * units, kMostStages);
  const std::uint32_t exchange =
      p.split ? 0 : kStrands * (kStrands - 1) * p.warp_groups * p.strand_warps() * kLanes * 8;
  const std::uint32_t chunks = p.resident ? units * p.groups * kChunk : 0;
  p.stage_bytes = aligned(p.tiles * p.m.unit_bytes + (p.resident ? 0 : p.groups * kChunk));
  p.sums = aligned(rows * 16 + (most + units) * 8 + most * 4);
  p.activations = p.sums + aligned(p.m.bits == 16 ? 0 : units * (kUnitColumns / p.m.group) * rows * 4);
  if (turns == 1 && exchange <= chunks) {
    p.exchange = p.activations;
    p.ring = p.activations + chunks;
  } else {
    p.exchange = p.activations + chunks;
    p.ring = p.exchange + exchange;
  }
  if (p.ring >= device.shared_bytes) return false;
  p.stages = std::min(most, (device.shared_bytes - p.ring) / p.stage_bytes);
  p.bytes = p.ring + p.stages * p.stage_bytes;
  return p.stages >= std::min(2U, most);
}

/// Cycles, about: of an H100, in which all blocks together read some 3,200 bytes a cycle from the second-level cache
/// (one of them 40). Products wait for what they are made of: a warp gives an instruction every 2.2 cycles at best, a
/// multiprocessor's quarter one every 1.3; a copy takes 60 cycles to be asked for. Instructions are those of the
/// machine code at four bits, constants fit what the shapes of bench/cuda_batch took.
double cycles(const BatchProduct& p, std::uint32_t units, std::uint32_t turns, std::uint32_t blocks,
              const BatchDevice& device) {
  const double waves = ceil_div(blocks, device.multiprocessors);
  const double chunks = (p.resident ? 1.0 : static_cast<double>(turns)) * units * p.groups * kChunk;
  const double bytes = static_cast<double>(turns) * units * p.tiles * p.m.unit_bytes + chunks;
  const double cache = std::max(bytes * blocks / waves / 3200, bytes / 40);
  const double warps = p.warps();
  const double instruction = std::max(2.2, 1.3 * warps / 4);  // of each of the warps
  const double unit = 250 + (p.warp_groups == 1 ? 250 : 225 * p.warp_groups);
  const double turn = p.split ? 0 : 250 + 100 * p.warp_groups;
  const double stage_copies = p.tiles + (p.resident ? 0 : p.groups);
  const double refills = turns * units - std::min(turns * units, p.stages);
  const double first = ceil_div(p.stages + (p.resident ? units : 0), p.warps()) * std::max(p.tiles, p.groups) * 60;
  const double work =
      turns * (400 + (ceil_div(units, p.strands()) * unit + turn) * instruction) + refills * stage_copies * 60 / warps;
  // Of stages with activations a warp's second waits for the kernel before; and where blocks have a strand each, few
  // tiles to a block were slower than all else here tells.
  const double start = 3000 + (p.resident ? 0 : 2000) + (p.split ? 120.0 * (kBlockTiles - p.tiles) : 0.0);
  return waves * (start + first + std::max(cache, work) + std::min(cache, work) / 4);
}

}  // namespace

std::vector<BatchProduct> product_plans(const Matrix& m, Step step, std::uint32_t ring_layer, std::uint32_t groups,
                                        const BatchDevice& device) {
  std::vector<BatchProduct> plans;
  BatchProduct p;
  p.m = m;
  p.step = step;
  p.ring_layer = ring_layer;
  p.groups_all = groups;
  p.split = step == Step::out || step == Step::down;
  const std::uint32_t units = p.split ? ceil_div(m.units, kStrands) : m.units;
  for (p.tiles = kQuad; p.tiles <= kBlockTiles; p.tiles += kQuad) {
    for (const std::uint32_t each : {1U, 2U, 4U, 8U}) {
      if (each > 1 && each / 2 >= groups) continue;
      p.groups = each;
      for (p.warp_groups = 1; p.warp_groups <= std::min(each, 4U); p.warp_groups *= 2) {
        if (p.warps() * kLanes > kBatchThreads) continue;
        const std::uint32_t row_blocks = ceil_div(groups, p.groups) * (p.split ? kStrands : 1);
        const std::uint32_t tile_blocks = ceil_div(m.tiles, p.tiles);
        p.blocks = std::clamp(device.multiprocessors / row_blocks, 1U, tile_blocks);
        const std::uint32_t turns = ceil_div(tile_blocks, p.blocks);
        for (const bool resident : {true, false}) {
          p.resident = resident;
          if (!lay_out(p, units, turns, device)) continue;
          p.cycles = cycles(p, units, turns, p.blocks * row_blocks, device);
          plans.push_back(p);
        }
      }
    }
  }
  return plans;
}

BatchProduct plan_product(const Matrix& m, Step step, std::uint32_t ring_layer, std::uint32_t groups,
                          const BatchDevice& device) {
  const std::vector<BatchProduct> plans = product_plans(m, step, ring_layer, groups, device);
  if (plans.empty())
    throw Error(ErrorCode::unsupported, "a matrix of " + std::to_string(m.rows) + " x " + std::to_string(m.columns) +
                                            " values is too wide for the GPU's decode kernels (" +
                                            std::to_string(device.shared_bytes) +
                                            " bytes of shared memory); use the CPU backend");
  return *std::min_element(plans.begin(), plans.end(),
                           [](const BatchProduct& a, const BatchProduct& b) { return a.cycles < b.cycles; });
}

void prepare_product(const BatchProduct& product, const BatchDevice& device) {
  // As much as there is: other plans have the same kernel.
  check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_of(product)),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(device.shared_bytes)),
        "preparing a decode product");
}

void launch_product(const DecodeArgs* pass, const BatchProduct& product, bool early, cudaStream_t stream) {
  const dim3 grid(product.blocks, ceil_div(product.groups_all, product.groups), product.split ? kStrands : 1);
  launch(kernel_of(product), grid, dim3(product.warps() * kLanes), product.bytes, stream, early,
         "starting a decode product", pass, product);
}

}  // namespace qwen35::cuda
