// Every backend against the vectors that Hugging Face transformers computed in float32 (model page, section 5).

#include <gtest/gtest.h>

#include <utility>

#include "backend/backends_under_test.h"
#include "backend/reference_data.h"

namespace qwen35 {
namespace {

/// The largest logit error seen, for the figure that is printed.
float worst_error = 0;

void check_case(Backend& backend, const ReferenceCase& reference, const std::vector<std::size_t>& pieces,
                float tolerance) {
  SCOPED_TRACE(std::to_string(reference.ids.size()) + " tokens");
  const std::size_t vocab = backend.config().vocab_size;
  auto state = backend.make_state();
  std::vector<float> logits;
  std::size_t at = 0;
  for (std::size_t i = 0; at < reference.ids.size(); ++i) {
    const std::size_t count = std::min(pieces[i % pieces.size()], reference.ids.size() - at);
    std::vector<float> piece(count * vocab);
    backend.forward(*state, std::span(reference.ids).subspan(at, count), LogitRows::all, piece);
    logits.insert(logits.end(), piece.begin(), piece.end());
    at += count;
  }
  // The vectors hold every position, or the last 16 of a long prompt.
  const std::size_t offset = logits.size() - reference.logits.size();
  float worst = 0;
  for (std::size_t i = 0; i < reference.logits.size(); ++i) {
    worst = std::max(worst, std::fabs(logits[offset + i] - reference.logits[i]));
  }
  EXPECT_LT(worst, tolerance);
  worst_error = std::max(worst_error, worst);

  std::vector<float> last(logits.end() - static_cast<std::ptrdiff_t>(vocab), logits.end());
  for (std::size_t step = 0; step < reference.greedy.size(); ++step) {
    const auto best = static_cast<TokenId>(std::max_element(last.begin(), last.end()) - last.begin());
    if (reference.top2_gap[step] > std::max(0.01F, 2 * tolerance)) {
      ASSERT_EQ(best, reference.greedy[step]) << "greedy step " << step;
    }
    backend.forward(*state, std::span(&reference.greedy[step], 1), LogitRows::last, last);
  }
}

void check_folder(const std::filesystem::path& model, const std::filesystem::path& vectors,
                  const BackendOptions& options, std::size_t longest,
                  const std::vector<std::vector<std::size_t>>& pieces) {
  const auto backend = make_backend(load_weights(model), options);
  for (const ReferenceCase& reference : read_reference(vectors)) {
    if (reference.ids.size() > longest) continue;
    for (const auto& piece : pieces) check_case(*backend, reference, piece, options.kind == "cuda" ? 3e-2F : 2e-3F);
  }
  std::printf("%s, %s: largest logit error %.2g\n", vectors.filename().c_str(), backend->description().c_str(),
              static_cast<double>(std::exchange(worst_error, 0.0F)));
}

const std::vector<std::vector<std::size_t>> kWays{{100000}, {7, 1, 64, 13, 130}, {1}};

TEST(Reference, TinyScalar) {
  check_folder(tiny_model(), tiny_model(), {.kind = "reference"}, 1000, {{100000}, {3, 1, 70}});
}

TEST(Reference, TinyCuda) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  check_folder(tiny_model(), tiny_model(), {.kind = "cuda"}, 1000, kWays);
}

TEST(Reference, TinyGvaCuda) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  const auto folder = shared_reference("tiny-gva");
  if (folder.empty()) GTEST_SKIP() << "no reference/tiny-gva in " QWEN35_SHARED_DIR;
  check_folder(folder, folder, {.kind = "cuda"}, 1000, kWays);
}

TEST(Reference, SmallCuda) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  const auto folder = shared_reference("small");
  if (folder.empty()) GTEST_SKIP() << "no reference/small in " QWEN35_SHARED_DIR;
  const DrawnModel model(folder / "config.json", 1);
  check_folder(model.folder(), folder, {.kind = "cuda"}, 10000, kWays);
}

TEST(Reference, TinyEveryInstructionSet) {
  for (const char* isa : isa_names()) {
    SCOPED_TRACE(isa);
    const ScopedIsa forced(isa);
    check_folder(tiny_model(), tiny_model(), {.kind = "cpu", .threads = 2, .float32 = true}, 1000, kWays);
  }
}

/// bf16 weights keep float32 activations in the fast mode too; only keys and values become binary16.
TEST(Reference, TinyAsChatComputesIt) {
  check_folder(tiny_model(), tiny_model(), {.kind = "cpu", .threads = 2}, 1000, kWays);
}

TEST(Reference, TinyGva) {
  const auto folder = shared_reference("tiny-gva");
  if (folder.empty()) GTEST_SKIP() << "no reference/tiny-gva in " QWEN35_SHARED_DIR;
  check_folder(folder, folder, {.kind = "cpu", .threads = 2, .float32 = true}, 1000, kWays);
  check_folder(folder, folder, {.kind = "reference"}, 1000, {{100000}});
}

TEST(Reference, Small) {
  const auto folder = shared_reference("small");
  if (folder.empty()) GTEST_SKIP() << "no reference/small in " QWEN35_SHARED_DIR;
  const DrawnModel model(folder / "config.json", 1);
  check_folder(model.folder(), folder, {.kind = "cpu", .threads = 2, .float32 = true}, 10000,
               {{100000}, {7, 1, 64, 13, 130}});
  check_folder(model.folder(), folder, {.kind = "cpu", .threads = 2, .float32 = true}, 300, {{1}});
  check_folder(model.folder(), folder, {.kind = "reference"}, 65, {{100000}});
}

/// The whole 0.8B shape: 1.5 GB drawn, prompts up to 1000 tokens.
void check_full(const BackendOptions& options, double tolerance) {
#if defined(QWEN35_SANITIZED)
  GTEST_SKIP() << "too slow under sanitizers; the release build runs it";
#endif
  const auto folder = shared_reference("full-0.8b");
  if (folder.empty()) GTEST_SKIP() << "no reference/full-0.8b in " QWEN35_SHARED_DIR;
  const DrawnModel model(folder / "config.json", 1);
  const auto backend = make_backend(load_weights(model.folder()), options);
  std::vector<float> logits(backend->config().vocab_size);
  double worst = 0;
  const auto reference = nlohmann::json::parse(std::ifstream(folder / "reference.json"));
  ASSERT_EQ(reference.at("cases").size(), 4U);
  for (const auto& one : reference.at("cases")) {
    const auto ids = one.at("input_ids").get<std::vector<TokenId>>();
    auto state = backend->make_state();
    backend->forward(*state, ids, LogitRows::last, logits);
    const auto top = one.at("last_top_ids").get<std::vector<std::size_t>>();
    for (std::size_t i = 0; i < top.size(); ++i) {
      worst =
          std::max(worst, std::fabs(static_cast<double>(logits[top[i]]) - one.at("last_top_logits")[i].get<double>()));
    }
    const double highest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
    EXPECT_NEAR(highest + std::log(sum), one.at("last_logsumexp").get<double>(), tolerance);
    const auto greedy = one.at("greedy").get<std::vector<TokenId>>();
    for (std::size_t step = 0; step < greedy.size(); ++step) {
      const auto best = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      if (one.at("top2_gap")[step].get<double>() > std::max(0.05, 2 * tolerance)) {
        ASSERT_EQ(best, greedy[step]) << ids.size() << " tokens, step " << step;
      }
      backend->forward(*state, std::span(&greedy[step], 1), LogitRows::last, logits);
    }
  }
  std::printf("full-0.8b, %s: largest error of the top 64 logits %.2g\n", backend->description().c_str(), worst);
  EXPECT_LT(worst, tolerance);
}

TEST(Reference, Full) { check_full({.kind = "cpu", .threads = 2, .float32 = true}, 2e-2); }
TEST(Reference, FullCuda) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  check_full({.kind = "cuda"}, 3e-2);
}

}  // namespace
}  // namespace qwen35
