#include "checkpoint/affine.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/half.h"
#include "checkpoint/temporary_folder.h"

namespace qwen35 {
namespace {

std::vector<std::uint32_t> words_of(const std::string& hex) {
  std::vector<std::uint32_t> words;
  for (std::size_t i = 0; i < hex.size(); i += 8) {
    words.push_back(static_cast<std::uint32_t>(std::stoul(hex.substr(i, 8), nullptr, 16)));
  }
  return words;
}

std::vector<float> floats_of(const std::string& hex) {
  std::vector<float> values;
  for (const std::uint32_t bits : words_of(hex)) values.push_back(std::bit_cast<float>(bits));
  return values;
}

TEST(Affine, AgreesWithTheNumpyTwin) {
  const auto cases = nlohmann::json::parse(file_bytes(test_data() / "checkpoint/affine_vectors.json"));
  ASSERT_EQ(cases.size(), 27U);
  for (const auto& one : cases) {
    const std::vector<float> values = floats_of(one["values"]);
    for (const auto& expected : one["quantized"]) {
      const int bits = expected["bits"];
      SCOPED_TRACE(one["name"].get<std::string>() + ", group " + std::to_string(values.size()) + ", bits " +
                   std::to_string(bits));
      std::vector<std::uint32_t> packed(values.size() * static_cast<std::size_t>(bits) / 32);
      const AffineGroup group = quantize_group(values.data(), values.size(), bits, packed.data());
      EXPECT_EQ(float_to_bf16(group.scale), std::stoul(expected["scale"].get<std::string>(), nullptr, 16));
      EXPECT_EQ(float_to_bf16(group.bias), std::stoul(expected["bias"].get<std::string>(), nullptr, 16));
      EXPECT_EQ(packed, words_of(expected["words"]));

      // Half a step at most, but for the end opposite the edge, which may be clipped.
      std::vector<float> back(values.size());
      dequantize_group(packed.data(), bits, values.size(), group.scale, group.bias, back.data());
      const float step = std::fabs(group.scale);
      for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(back[i], values[i], step * 1.01F) << i;
    }
  }
}

// -8 .. 7 twice: edge -8, scale 15/15 = 1, and -8 falls on the integer -8, so scale 1, bias -8, q = value + 8.
TEST(Affine, QuantisesIntegersExactly) {
  std::vector<float> values(32);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 16) - 8.0F;
  std::vector<std::uint32_t> packed(4);
  const AffineGroup group = quantize_group(values.data(), 32, 4, packed.data());
  EXPECT_EQ(group.scale, 1.0F);
  EXPECT_EQ(group.bias, -8.0F);
  EXPECT_EQ(packed, (std::vector<std::uint32_t>{0x76543210, 0xFEDCBA98, 0x76543210, 0xFEDCBA98}));
}

// Every q in turn at each width: value i sits in bits [i·bits, (i+1)·bits) of the stream.
TEST(Affine, UnpacksTheBitStream) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    constexpr std::size_t count = 64;
    std::vector<std::uint32_t> packed(count * static_cast<std::size_t>(bits) / 32);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t q = (i * 7 + 3) % (std::size_t{1} << bits);
      for (std::size_t b = 0; b < static_cast<std::size_t>(bits); ++b) {
        const std::size_t position = i * static_cast<std::size_t>(bits) + b;
        if ((q >> b & 1) != 0) packed[position / 32] |= 1U << (position % 32);
      }
    }
    std::vector<float> values(count);
    dequantize_group(packed.data(), bits, count, 0.5F, -3.0F, values.data());
    for (std::size_t i = 0; i < count; ++i) {
      const auto q = static_cast<float>((i * 7 + 3) % (std::size_t{1} << bits));
      EXPECT_EQ(values[i], 0.5F * q - 3.0F) << bits << " bits, value " << i;
    }
  }
}

}  // namespace
}  // namespace qwen35
