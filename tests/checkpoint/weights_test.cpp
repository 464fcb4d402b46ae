#include "checkpoint/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "checkpoint/temporary_folder.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;

const std::filesystem::path tiny = test_data() / "reference/tiny";

TEST(Weights, LoadsHuggingFaceTiny) {
  const ModelWeights weights = load_weights(tiny);
  ASSERT_EQ(weights.layers.size(), 4U);
  EXPECT_EQ(weights.embedding.rows, 512U);
  EXPECT_EQ(weights.embedding.cols, 64U);
  EXPECT_FALSE(weights.embedding.quantized());
  EXPECT_FALSE(weights.lm_head);
  EXPECT_EQ(&weights.head(), &weights.embedding);
  // Every weight of the file is a bf16 of the text model.
  EXPECT_EQ(weights.parameters, 556504U / 2);
  EXPECT_EQ(weights.matrices().size(), 1 + 3 * 8 + 7U);
  const auto& linear = std::get<LinearAttentionWeights>(weights.layers[0].mixer);
  EXPECT_EQ(linear.conv.size(), 192 * 4U);
  EXPECT_EQ(linear.in_proj_qkv.rows, 192U);
  for (const float w : linear.norm) EXPECT_NEAR(w, 1.0F, 0.25F);
  for (const float w : weights.final_norm) EXPECT_NEAR(w, 1.0F, 0.25F);
  const auto& full = std::get<FullAttentionWeights>(weights.layers[3].mixer);
  EXPECT_EQ(full.q_proj.rows, 256U);
  EXPECT_EQ(full.o_proj.cols, 128U);
}

TEST(Weights, ReadsRowsOfBf16) {
  const ModelWeights weights = load_weights(tiny);
  // From the bytes of model.safetensors: rows 0 and 511 of model.embed_tokens.weight.
  std::vector<float> row(64);
  weights.embedding.row(0, row.data());
  EXPECT_THAT(std::vector<float>(row.begin(), row.begin() + 4),
              ElementsAre(0.1826171875F, -0.1826171875F, -0.0439453125F, -0.000457763671875F));
  weights.embedding.row(511, row.data());
  EXPECT_THAT(std::vector<float>(row.end() - 4, row.end()),
              ElementsAre(-0.15625F, 0.099609375F, 0.080078125F, -0.08837890625F));
}

TEST(Weights, ReleasedPagesAreReadAgain) {
  const ModelWeights weights = load_weights(tiny);
  std::vector<float> before(64);
  std::vector<float> after(64);
  weights.embedding.row(511, before.data());
  release_pages(weights);
  weights.embedding.row(511, after.data());
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace qwen35
