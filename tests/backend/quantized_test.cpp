// The quantised path of chat against the float32 forward of the dequantised weights.

#include <gtest/gtest.h>

#include "backend/reference_data.h"

namespace qwen35 {
namespace {

std::vector<float> all_logits(const std::filesystem::path& folder, const BackendOptions& options,
                              std::span<const TokenId> ids) {
  const auto backend = make_backend(load_weights(folder), options);
  auto state = backend->make_state();
  std::vector<float> logits(ids.size() * backend->config().vocab_size);
  backend->forward(*state, ids, LogitRows::all, logits);
  return logits;
}

struct Agreement {
  double lowest_cosine = 1;
  double mean_kl = 0;
};

Agreement compare(std::span<const float> exact, std::span<const float> fast, std::size_t vocab) {
  Agreement result;
  const std::size_t rows = exact.size() / vocab;
  for (std::size_t row = 0; row < rows; ++row) {
    double dot = 0, a2 = 0, b2 = 0, za = 0, zb = 0;
    for (std::size_t i = row * vocab; i < (row + 1) * vocab; ++i) {
      const double a = exact[i], b = fast[i];
      dot += a * b;
      a2 += a * a;
      b2 += b * b;
      za += std::exp(a);
      zb += std::exp(b);
    }
    result.lowest_cosine = std::min(result.lowest_cosine, dot / std::sqrt(a2 * b2));
    for (std::size_t i = row * vocab; i < (row + 1) * vocab; ++i) {
      const double log_p = static_cast<double>(exact[i]) - std::log(za);
      const double log_q = static_cast<double>(fast[i]) - std::log(zb);
      result.mean_kl += std::exp(log_p) * (log_p - log_q) / static_cast<double>(rows);
    }
  }
  return result;
}

class QuantizedTest : public testing::TestWithParam<int> {};

TEST_P(QuantizedTest, SmallAgreesAtEveryPosition) {
  const auto reference = shared_reference("small");
  if (reference.empty()) GTEST_SKIP() << "no reference/small in " QWEN35_SHARED_DIR;
  std::vector<TokenId> ids;
  for (const auto& one : read_reference(reference)) {
    if (one.ids.size() == 300) ids = one.ids;
  }
  ASSERT_EQ(ids.size(), 300U);
  const DrawnModel model(reference / "config.json", 1, {GetParam(), 64});
  const auto exact = all_logits(model.folder(), {.kind = "cpu", .threads = 2, .float32 = true}, ids);
  for (const char* isa : isa_names()) {
    if (std::string_view(isa) == "scalar") continue;
    const ScopedIsa forced(isa);
    const auto result = compare(exact, all_logits(model.folder(), {.kind = "cpu", .threads = 2}, ids), 2048);
    std::printf("%d bits, %s: lowest cosine %.6f, mean KL %.3g\n", GetParam(), isa, result.lowest_cosine,
                result.mean_kl);
    EXPECT_GE(result.lowest_cosine, 0.999);
  }
}

TEST_P(QuantizedTest, TinyAgreesForEveryGroupAndInstructionSet) {
  const auto ids = read_reference(tiny_model()).back().ids;
  for (const int group : {32, 64}) {
    const DrawnModel model(tiny_model() / "config.json", 1, {GetParam(), group});
    const auto exact = all_logits(model.folder(), {.kind = "reference"}, ids);
    const auto plain = all_logits(model.folder(), {.kind = "cpu", .threads = 2, .float32 = true}, ids);
    for (std::size_t i = 0; i < exact.size(); ++i) ASSERT_NEAR(plain[i], exact[i], 1e-3F);
    for (const char* isa : isa_names()) {
      const ScopedIsa forced(isa);
      const auto result = compare(exact, all_logits(model.folder(), {.kind = "cpu", .threads = 2}, ids), 512);
      EXPECT_GE(result.lowest_cosine, 0.997) << isa << " group " << group;
    }
  }
}

TEST_P(QuantizedTest, CudaAgreesWithTheCpu) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  auto check = [](const std::filesystem::path& config, std::span<const TokenId> ids, int group, std::size_t vocab) {
    const DrawnModel model(config, 1, {GetParam(), group});
    // Float32 on the dequantised weights: the CPU's fast path rounds activations to 8 bits, the GPU's does not.
    const auto exact = all_logits(model.folder(), {.kind = "cpu", .threads = 2, .float32 = true}, ids);
    const auto got = all_logits(model.folder(), {.kind = "cuda"}, ids);
    const auto result = compare(exact, got, vocab);
    float worst = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) worst = std::max(worst, std::fabs(exact[i] - got[i]));
    std::printf("%d bits, groups of %d, cuda: lowest cosine %.7f, mean KL %.3g, largest difference %.3g\n", GetParam(),
                group, result.lowest_cosine, result.mean_kl, static_cast<double>(worst));
    // In prefill the GPU multiplies weights rounded to binary16, which holds a 4-bit scale · q + bias nearly exactly
    // and those of more bits to 2^-12.
    EXPECT_GE(result.lowest_cosine, GetParam() == 4 ? 0.99999 : 0.999);
  };
  const auto ids = read_reference(tiny_model()).back().ids;
  for (const int group : {32, 64}) check(tiny_model() / "config.json", ids, group, 512);
  const auto reference = shared_reference("small");
  if (reference.empty()) return;
  for (const auto& one : read_reference(reference)) {
    if (one.ids.size() == 300) check(reference / "config.json", one.ids, 64, 2048);
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, QuantizedTest, testing::Values(4, 5, 6, 8));

}  // namespace
}  // namespace qwen35
