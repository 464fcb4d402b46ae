#include "checkpoint/synth.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <vector>

#include "checkpoint/temporary_folder.h"
#include "checkpoint/weights.h"

namespace qwen35 {
namespace {

std::uint64_t fnv1a64(const std::string& bytes) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

TEST(Synth, WritesTheReferenceFileByteForByte) {
  const TemporaryFolder temporary;
  SynthOptions options;
  options.config = test_data() / "reference/tiny/config.json";
  options.destination = temporary.path() / "tiny";
  ASSERT_TRUE(synthesize(options));
  EXPECT_TRUE(file_bytes(options.destination / "model.safetensors") ==
              file_bytes(test_data() / "reference/tiny/model.safetensors"));
  EXPECT_EQ(file_bytes(options.destination / "config.json"), file_bytes(options.config));
}

// Untied head, value heads a multiple of key heads, layer kinds in another order. The hash is that of the file which
// transformers and safetensors wrote.
TEST(Synth, WritesTheUntiedReference) {
  const TemporaryFolder temporary;
  SynthOptions options;
  options.config = test_data() / "checkpoint/tiny-gva.json";
  options.destination = temporary.path() / "gva";
  options.threads = 3;
  ASSERT_TRUE(synthesize(options));
  EXPECT_EQ(fnv1a64(file_bytes(options.destination / "model.safetensors")), 0xFC2248E8A30422DDU);
  EXPECT_TRUE(load_weights(options.destination).lm_head);
}

TEST(Synth, TakesATokenizerAlong) {
  const TemporaryFolder temporary;
  write_bytes(temporary.path() / "other-name.json", "{}");
  SynthOptions options;
  options.config = test_data() / "reference/tiny/config.json";
  options.destination = temporary.path() / "out";
  options.tokenizer = temporary.path() / "absent.json";
  EXPECT_THROW(synthesize(options), Error);
  EXPECT_FALSE(std::filesystem::exists(options.destination));
  options.tokenizer = temporary.path() / "other-name.json";
  ASSERT_TRUE(synthesize(options));
  EXPECT_EQ(file_bytes(options.destination / "tokenizer.json"), "{}");
}

TEST(Synth, AnyRangeCanBeDrawnAlone) {
  const TensorSpec tensor{"layers.0.mlp.up_proj.weight", TensorRole::matrix, {48, 40}};
  std::vector<float> whole(48 * 40);
  draw(tensor, 7, 0, whole);
  std::vector<float> part(91);
  draw(tensor, 7, 1001, part);
  EXPECT_EQ(part, std::vector<float>(whole.begin() + 1001, whole.begin() + 1092));
  draw(tensor, 8, 1001, part);
  EXPECT_NE(part, std::vector<float>(whole.begin() + 1001, whole.begin() + 1092));
}

}  // namespace
}  // namespace qwen35
