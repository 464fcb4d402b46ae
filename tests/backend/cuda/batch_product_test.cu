// Products and norms of decode passes over many rows. A value must have the bits that its row alone would have, in
// whatever block and beside whatever other rows: a twin kernel computes each by itself in the order that is promised,
// and float64 on the host says whether that is the product at all.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../random.h"
#include "backend/cuda/batch/batch_norm.h"
#include "backend/cuda/batch/batch_product.h"
#include "backend/cuda/decode/decode_link.cuh"
#include "backend/cuda/pieces/unpack.cuh"
#include "product_helpers.h"

namespace qwen35::cuda {
namespace {

/// Four strands of a tile for a group of rows, one warp a block: each unit's sum by one chain of products a
/// quantisation group (16 bits: two halves), high and low halves added, scale and bias in float32; every fourth unit
/// added in order. To strands[(strand · rows + row) · matrix rows + matrix row].
template <int kBits, int kGroup>
__global__ void twin(Matrix m, const std::uint32_t* words, float* strands, std::uint32_t rows) {
  constexpr int kChains = kBits == 16 ? 2 : 128 / (kBits == 16 ? 64 : kGroup);
  const std::uint32_t lane = threadIdx.x;
  const std::uint32_t tile = blockIdx.x;
  const std::uint32_t group = blockIdx.y;
  const std::uint32_t* const x = words + std::size_t{group} * kGroupRows * m.units * kUnitColumns;
  float2 total[4] = {make_float2(0, 0), make_float2(0, 0), make_float2(0, 0), make_float2(0, 0)};
  for (std::uint32_t u = 0; u < m.units; ++u) {
    const std::uint8_t* const unit = m.data + (std::size_t{tile} * m.units + u) * m.unit_bytes;
    Unit<kBits, kGroup> weights;
    weights.load_values(unit, lane);
    const auto* const scales =
        reinterpret_cast<const __half2*>(unit + value_bytes(kBits)) + lane % 4 * 2 * (kBits == 16 ? 0 : kChains);
    float2 y = make_float2(0, 0);
#pragma unroll
    for (int chain = 0; chain < kChains; ++chain) {
      float sum[4] = {0, 0, 0, 0};
      float ones[4] = {0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < 8 / kChains; ++i) {
        const int step = chain * (8 / kChains) + i;
        const uint4 columns = *reinterpret_cast<const uint4*>(
            x + (((u * 8 + static_cast<std::uint32_t>(step)) * 8 + lane / 4) * 4 + lane % 4) * 4);
        mma(sum, columns, weights.raw(2 * step), weights.raw(2 * step + 1));
        mma(ones, columns, 0x3C003C00U, 0x3C003C00U);
      }
      const float2 all = make_float2(sum[0] + sum[2], sum[1] + sum[3]);
      if constexpr (kBits == 16) {
        y.x += all.x;
        y.y += all.y;
      } else {
        const float of_row = ones[0] + ones[2];
        const float2 first = __half22float2(scales[chain]);
        const float2 second = __half22float2(scales[kChains + chain]);
        y.x = fmaf(first.x, all.x, fmaf(fmaf(-1024.0F, first.x, first.y), of_row, y.x));
        y.y = fmaf(second.x, all.y, fmaf(fmaf(-1024.0F, second.x, second.y), of_row, y.y));
      }
    }
    total[u % 4].x += y.x;
    total[u % 4].y += y.y;
  }
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::uint32_t row = group * kGroupRows + lane / 4;
    const std::uint32_t to = tile * kTileRows + lane % 4 * 2;
    float* const at = strands + (std::size_t{i} * rows + row) * m.rows;
    if (to < m.rows) at[to] = total[i].x;
    if (to + 1 < m.rows) at[to + 1] = total[i].y;
  }
}

void run_twin(const Matrix& m, const std::uint32_t* words, float* strands, std::uint32_t rows) {
  const dim3 grid(m.tiles, rows / kGroupRows);
  const auto start = [&](auto bits, auto group) {
    twin<bits.value, group.value><<<grid, 32>>>(m, words, strands, rows);
  };
  using std::integral_constant;
  const auto with_group = [&](auto bits) {
    if (m.group == 32) start(bits, integral_constant<int, 32>{});
    if (m.group == 64) start(bits, integral_constant<int, 64>{});
    if (m.group == 128) start(bits, integral_constant<int, 128>{});
  };
  if (m.bits == 16) start(integral_constant<int, 16>{}, integral_constant<int, 0>{});
  if (m.bits == 4) with_group(integral_constant<int, 4>{});
  if (m.bits == 5) with_group(integral_constant<int, 5>{});
  if (m.bits == 6) with_group(integral_constant<int, 6>{});
  if (m.bits == 8) with_group(integral_constant<int, 8>{});
  check(cudaGetLastError(), "starting a twin");
}

constexpr float kUntouched = 12345.0F;
constexpr std::uint32_t kPadding = 6;  // of a row of results

/// Activations of 64 rows as the kernels take them, and as float64.
struct Activations {
  Activations(std::uint32_t columns, unsigned seed)
      : values(std::size_t{kPassRows} * columns), words(std::size_t{kPassRows} * padded_to_units(columns)) {
    const std::vector<float> normal = random_floats(values.size(), seed);
    for (std::uint32_t row = 0; row < kPassRows; ++row) {
      for (std::uint32_t k = 0; k < columns; ++k) {
        const float x = normal[std::size_t{row} * columns + k];
        const std::uint16_t high = half_of(x);
        const std::uint16_t low = half_of(double{x} - f16_to_float(high));
        const std::uint32_t step = k / 16;
        const std::size_t word = std::size_t{row / 8} * 8 * padded_to_units(columns) +
                                 ((step * 8 + row % 8) * 4 + k % 8 / 2) * 4 + k % 16 / 8 * 2;
        words[word] |= std::uint32_t{high} << (16 * (k % 2));
        words[word + 1] |= std::uint32_t{low} << (16 * (k % 2));
        values[std::size_t{row} * columns + k] = double{f16_to_float(high)} + f16_to_float(low);
      }
    }
  }
  static std::uint32_t padded_to_units(std::uint32_t columns) {
    return (columns + kUnitColumns - 1) / kUnitColumns * kUnitColumns;
  }
  std::vector<double> values;
  std::vector<std::uint32_t> words;
};
/// A value of such words.
double value_of(const std::vector<std::uint32_t>& words, std::uint32_t columns, std::uint32_t row, std::uint32_t k) {
  const std::size_t word = std::size_t{row / 8} * 8 * Activations::padded_to_units(columns) +
                           ((k / 16 * 8 + row % 8) * 4 + k % 8 / 2) * 4 + k % 16 / 8 * 2;
  return double{f16_to_float(static_cast<std::uint16_t>(words[word] >> (16 * (k % 2))))} +
         f16_to_float(static_cast<std::uint16_t>(words[word + 1] >> (16 * (k % 2))));
}

class BatchProducts : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    const DeviceInfo info = device_info();
    const BatchDevice whole{static_cast<std::uint32_t>(info.multiprocessors),
                            static_cast<std::uint32_t>(info.shared_bytes), info.major >= 9};
    // Few blocks take several turns; in little memory activations come with the weights.
    devices_ = {whole, {3, whole.shared_bytes, false}, {2, 48 * 1024, false}};
  }
  /// Runs `plan` with these buffers, from 64 rows of activations of which `rows` are of the pass.
  void run(const BatchProduct& plan, DecodeArgs args, std::uint32_t rows) {
    args.rows = rows;
    const DeviceMemory pass = upload(std::vector<DecodeArgs>{args});
    prepare_product(plan, devices_.front());
    launch_product(pass.as<const DecodeArgs>(), plan, false, nullptr);
    check(cudaDeviceSynchronize(), "running a product");
  }
  std::vector<BatchDevice> devices_;
};

std::string name_of(const BatchProduct& p, std::uint32_t rows) {
  return std::to_string(p.m.bits) + " bits, groups of " + std::to_string(p.m.group) + ", " + std::to_string(p.m.rows) +
         " x " + std::to_string(p.m.columns) + ", step " + std::to_string(static_cast<int>(p.step)) + ", " +
         std::to_string(rows) + " rows; block of " + std::to_string(p.tiles) + " tiles x " + std::to_string(p.groups) +
         " groups (" + std::to_string(p.warp_groups) + " a warp), " + std::to_string(p.blocks) + " blocks, " +
         std::to_string(p.stages) + " stages" + (p.resident ? ", resident" : "");
}

/// What is not to the bit as expected, of kPassRows rows of `width`; "" when all is.
std::string differences(const std::vector<float>& found, const std::vector<float>& wanted, std::size_t width) {
  std::size_t wrong = 0;
  std::string first;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (std::memcmp(&found[i], &wanted[i], sizeof(float)) == 0) continue;
    if (wrong++ == 0)
      first = "row " + std::to_string(i / width) + ", value " + std::to_string(i % width) + ": " +
              std::to_string(found[i]) + " for " + std::to_string(wanted[i]);
  }
  return wrong == 0 ? "" : std::to_string(wrong) + " of " + std::to_string(wanted.size()) + " differ; " + first;
}

TEST_F(BatchProducts, HaveTheBitsOfEachRowAlone) {
  for (const Format& format : kFormats) {
    for (const auto& [rows, columns] : {std::pair{8U, 64U}, {41U, 320U}, {200U, 640U}, {1096U, 1024U}, {72U, 2176U}}) {
      if (columns % std::max(format.group, 1U) != 0) continue;
      const HostMatrix w = random_matrix(rows, columns, format.bits, format.group, rows + columns, 0.05F, 0.25F);
      const Activations x(columns, columns);
      const DeviceMemory weights = upload(w.bytes);
      const DeviceMemory words = upload(x.words);
      Matrix m = w.matrix;
      m.data = weights.as<std::uint8_t>();
      const DeviceMemory twins(std::size_t{kStrands} * kPassRows * rows * 4);
      run_twin(m, words.as<std::uint32_t>(), twins.as<float>(), kPassRows);
      const std::vector<float> strands = download<float>(twins.data(), std::size_t{kStrands} * kPassRows * rows);
      const std::size_t all = std::size_t{kPassRows} * rows;
      std::vector<float> sums(all);
      Worst worst;
      for (std::size_t i = 0; i < all; ++i) {
        sums[i] = (strands[i] + strands[all + i]) + (strands[2 * all + i] + strands[3 * all + i]);
        double want = 0;
        double size = 0;
        for (std::size_t k = 0; k < columns; ++k) {
          const double product = w.exact[i % rows * columns + k] * x.values[i / rows * columns + k];
          want += product;
          size += std::abs(product);
        }
        // 1024 + q cancels against the bias: errors are those of sums some times as large.
        worst.see(sums[i], want, 0x1p-14 * size, i / rows, i % rows);
      }
      ASSERT_EQ(worst.verdict(), "") << "the twin";

      const std::uint32_t stride = rows + kPadding + rows % 2;
      const DeviceMemory ring(std::size_t{kPassRows} * kRingRows * stride * 4);
      DecodeArgs args{};
      args.sizes.hidden = rows;
      args.sizes.vocabulary = stride;
      args.sizes.value_heads = stride / 2;  // so that a row of the ring has `stride` floats
      args.buffers.in_floats = stride;
      args.buffers.act_x = words.as<std::uint32_t>();
      args.buffers.act_mixed = words.as<std::uint32_t>();
      args.buffers.act_inner = words.as<std::uint32_t>();
      args.sequences = kPassRows;
      for (std::uint32_t row = 0; row < kPassRows; ++row) {
        args.sequence_of[row] = static_cast<std::uint8_t>(row);
        args.sequence[row].first = row;
        args.sequence[row].position = 5 * row;
        args.sequence[row].ring = ring.as<float>() + std::size_t{row} * kRingRows * stride;
        args.logit_row[row] = row % 3 == 1 ? std::int16_t{-1} : static_cast<std::int16_t>(row);
      }
      for (const BatchDevice& device : devices_) {
        for (const std::uint32_t count : {1U, 7U, 9U, 33U, 64U}) {
          const std::uint32_t groups = (count + kGroupRows - 1) / kGroupRows;
          const std::size_t cells = std::size_t{kStrands} * kPassRows * stride;
          for (const Step step : {Step::in, Step::out, Step::head}) {
            if (step == Step::out && rows % 2 != 0) continue;
            const BatchProduct plan = plan_product(m, step, step == Step::in ? 0 : ~0U, groups, device);
            const DeviceMemory out = upload(std::vector<float>(cells, kUntouched));
            args.buffers.in[0] = args.buffers.out[0] = out.data();
            args.logits = out.as<float>();
            check(cudaMemset(ring.data(), 0, ring.bytes()), "clearing");
            run(plan, args, count);
            const std::vector<float> found = download<float>(out.data(), cells);
            std::vector<float> wanted(cells, kUntouched);
            for (std::uint32_t row = 0; row < count; ++row) {
              for (std::uint32_t i = 0; i < rows; ++i) {
                if (step == Step::out) {
                  for (std::size_t strand = 0; strand < kStrands; ++strand)
                    wanted[(strand * kPassRows + row) * rows + i] = strands[strand * all + std::size_t{row} * rows + i];
                } else if (step == Step::in || row % 3 != 1) {
                  wanted[std::size_t{row} * stride + i] = sums[std::size_t{row} * rows + i] * m.factor;
                }
              }
            }
            ASSERT_EQ(differences(found, wanted, step == Step::out ? rows : stride), "") << name_of(plan, count);
            if (step != Step::in) continue;
            const std::vector<float> rings = download<float>(ring.data(), ring.bytes() / 4);
            std::vector<float> rings_wanted(rings.size(), 0.0F);
            for (std::uint32_t row = 0; row < count; ++row)
              std::copy_n(&wanted[std::size_t{row} * stride], rows,
                          &rings_wanted[(std::size_t{row} * kRingRows + 5 * row % kRingRows) * stride]);
            ASSERT_EQ(differences(rings, rings_wanted, stride), "") << "the ring; " << name_of(plan, count);
          }
        }
      }
    }
  }
}

TEST_F(BatchProducts, HaveTheSameBitsInEveryShape) {
  constexpr std::uint32_t kRows = 232;
  constexpr std::uint32_t kColumns = 1152;
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{8, 32}, Format{5, 128}}) {
    const HostMatrix w = random_matrix(kRows, kColumns, format.bits, format.group, 5);
    const Activations x(kColumns, 6);
    const DeviceMemory weights = upload(w.bytes);
    const DeviceMemory words = upload(x.words);
    Matrix m = w.matrix;
    m.data = weights.as<std::uint8_t>();
    const std::size_t all = std::size_t{kPassRows} * kRows;
    const DeviceMemory twins(kStrands * all * 4);
    run_twin(m, words.as<std::uint32_t>(), twins.as<float>(), kPassRows);
    const std::vector<float> strands = download<float>(twins.data(), kStrands * all);
    DecodeArgs args{};
    args.sizes.hidden = kRows;
    args.sizes.vocabulary = kRows;
    args.buffers.act_x = args.buffers.act_mixed = words.as<std::uint32_t>();
    for (std::uint32_t row = 0; row < kPassRows; ++row) args.logit_row[row] = static_cast<std::int16_t>(row);
    for (const BatchDevice& device : devices_) {
      for (const Step step : {Step::out, Step::head}) {
        for (const std::uint32_t count : {59U, 20U}) {
          for (const BatchProduct& plan : product_plans(m, step, ~0U, (count + kGroupRows - 1) / kGroupRows, device)) {
            const DeviceMemory out = upload(std::vector<float>(kStrands * all, kUntouched));
            args.buffers.out[0] = out.data();
            args.logits = out.as<float>();
            run(plan, args, count);
            std::vector<float> wanted(kStrands * all, kUntouched);
            for (std::size_t i = 0; i < std::size_t{count} * kRows; ++i) {
              for (std::size_t strand = 0; strand < kStrands && step == Step::out; ++strand)
                wanted[strand * all + i] = strands[strand * all + i];
              if (step == Step::head)
                wanted[i] = (strands[i] + strands[all + i]) + (strands[2 * all + i] + strands[3 * all + i]);
            }
            ASSERT_EQ(differences(download<float>(out.data(), kStrands * all), wanted, kRows), "")
                << name_of(plan, count);
          }
        }
      }
    }
  }
}

TEST_F(BatchProducts, GateAndUpBecomeTheActivationsOfDown) {
  for (const Format& format : {Format{16, 0}, Format{4, 64}, Format{5, 32}, Format{8, 128}}) {
    constexpr std::uint32_t kColumns = 256;
    constexpr std::uint32_t kInner = 184;  // not a whole unit, and half a quad of tiles left over
    const HostMatrix w = random_matrix(2 * kInner, kColumns, format.bits, format.group, 7, 0.05F, 2);
    const Activations x(kColumns, 8);
    const DeviceMemory weights = upload(w.bytes);
    const DeviceMemory words = upload(x.words);
    Matrix m = w.matrix;
    m.data = weights.as<std::uint8_t>();
    DecodeArgs args{};
    args.sizes.intermediate = kInner;
    args.buffers.act_x = words.as<std::uint32_t>();
    const std::size_t cells = std::size_t{kPassRows} * Activations::padded_to_units(kInner);
    std::vector<std::uint32_t> alone;
    for (const BatchDevice& device : devices_) {
      for (const std::uint32_t count : {64U, 33U, 9U, 1U}) {
        const BatchProduct plan = plan_product(m, Step::gate_up, ~0U, (count + kGroupRows - 1) / kGroupRows, device);
        const DeviceMemory inner = upload(std::vector<std::uint32_t>(cells, 0));
        args.buffers.act_inner = inner.as<std::uint32_t>();
        run(plan, args, count);
        const std::vector<std::uint32_t> found = download<std::uint32_t>(inner.data(), cells);
        if (alone.empty()) alone = found;
        Worst worst;
        std::size_t differ = 0;
        for (std::uint32_t row = 0; row < kPassRows; ++row) {
          for (std::uint32_t i = 0; i < kInner; ++i) {
            const double value = value_of(found, kInner, row, i);
            if (row >= count) {
              differ += value == 0 ? 0 : 1;
              continue;
            }
            differ += value == value_of(alone, kInner, row, i) ? 0 : 1;
            double gate = 0;
            double up = 0;
            for (std::size_t k = 0; k < kColumns; ++k) {
              const double a = x.values[std::size_t{row} * kColumns + k];
              gate += a * w.exact[(std::size_t{i / 4} * 8 + i % 4) * kColumns + k];
              up += a * w.exact[(std::size_t{i / 4} * 8 + 4 + i % 4) * kColumns + k];
            }
            gate *= m.factor;
            up *= m.factor;
            const double want = gate / (1 + std::exp(-gate)) * up * kInnerScale;
            worst.see(value, want, 1e-4, row, i);
          }
        }
        ASSERT_EQ(worst.verdict(), "") << name_of(plan, count);
        ASSERT_EQ(differ, 0U) << name_of(plan, count);
      }
    }
  }
}

TEST_F(BatchProducts, ANormAddsWhatAProductHasLeft) {
  for (const std::uint32_t hidden : {64U, 192U, 1024U}) {
    const std::vector<float> x = random_floats(std::size_t{kPassRows} * hidden, 1);
    const std::vector<float> strands = random_floats(std::size_t{kStrands} * kPassRows * hidden, 2);
    const std::vector<float> norm = random_floats(hidden, 3);
    const DeviceMemory out = upload(strands);
    const DeviceMemory weights = upload(norm);
    const std::uint32_t units = (hidden + kUnitColumns - 1) / kUnitColumns;
    const DeviceMemory act(std::size_t{kPassRows} * units * kUnitColumns * 4);
    DecodeArgs args{};
    args.sizes.hidden = hidden;
    args.sizes.eps = 1e-6F;
    args.buffers.out[0] = args.buffers.down[0] = out.data();
    args.buffers.act_x = act.as<std::uint32_t>();
    for (const auto from : {BatchNorm::From::given, BatchNorm::From::out, BatchNorm::From::down}) {
      const std::uint32_t count = from == BatchNorm::From::out ? 64 : 13;
      const DeviceMemory kept = upload(x);
      args.rows = count;
      args.buffers.x = kept.as<float>();
      args.head_x = kept.as<float>();
      check(cudaMemset(act.data(), 0, act.bytes()), "clearing");
      BatchNorm plan;
      plan.from = from;
      plan.factor = 0.5F;
      plan.weights = weights.as<float>();
      plan.units = units;
      const DeviceMemory pass = upload(std::vector<DecodeArgs>{args});
      launch_norm(pass.as<const DecodeArgs>(), plan, (count + 7) / 8, hidden, false, nullptr);
      check(cudaDeviceSynchronize(), "running a norm");
      std::vector<float> sum = x;
      const std::size_t all = x.size();
      const float back = from == BatchNorm::From::down ? 1 / kInnerScale : 1;
      for (std::size_t i = 0; i < std::size_t{count} * hidden && from != BatchNorm::From::given; ++i) {
        const float total = (strands[i] + strands[all + i]) + (strands[2 * all + i] + strands[3 * all + i]);
        const float delta = total * plan.factor * back;
        sum[i] += delta;
      }
      ASSERT_EQ(differences(download<float>(kept.data(), x.size()), sum, hidden), "") << hidden;
      const std::vector<std::uint32_t> words = download<std::uint32_t>(act.data(), act.bytes() / 4);
      Worst worst;
      for (std::uint32_t row = 0; row < kPassRows; ++row) {
        double square = 0;
        for (std::size_t i = 0; i < hidden; ++i) square += double{sum[row * hidden + i]} * sum[row * hidden + i];
        const double scale = row < count ? 1 / std::sqrt(square / hidden + 1e-6) : 0;
        for (std::uint32_t i = 0; i < hidden; ++i)
          worst.see(value_of(words, hidden, row, i), sum[row * hidden + i] * scale * norm[i], 4e-6, row, i);
      }
      ASSERT_EQ(worst.verdict(), "") << hidden;
    }
  }
}

}  // namespace
}  // namespace qwen35::cuda
