#include "checkpoint/synth.h"

#include <qwen35/error.h>

#include <cmath>
#include <string>

#include "base/half.h"
#include "checkpoint/checkpoint_config.h"
#include "checkpoint/json_document.h"

namespace qwen35 {
namespace {

constexpr std::size_t longest_config = 16U << 20U;

std::uint64_t fnv1a64(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

std::uint64_t splitmix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

struct Interval {
  float low;
  float high;
};

Interval interval_of(const TensorSpec& tensor) {
  switch (tensor.role) {
    case TensorRole::zero_centred_norm:
      return {-0.25F, 0.25F};
    case TensorRole::gated_norm:
      return {0.75F, 1.25F};
    case TensorRole::conv:
      return {-0.5F, 0.5F};
    case TensorRole::vector:
      if (tensor.name.ends_with("A_log")) return {0.0F, static_cast<float>(2.772588722239781)};
      return {-6.0F, -1.0F};
    case TensorRole::matrix:
      break;
  }
  const auto edge = static_cast<float>(std::sqrt(3.0 / static_cast<double>(tensor.shape.back())));
  return {-edge, edge};
}

class DrawnTensors final : public TensorSource {
 public:
  explicit DrawnTensors(std::uint64_t seed) : seed_(seed) {}
  void read(const TensorSpec& tensor, std::size_t first, std::size_t count, float* out) const override {
    draw(tensor, seed_, first, {out, count});
  }
  [[nodiscard]] bool norms_as_applied() const override { return false; }

 private:
  std::uint64_t seed_;
};

}  // namespace

void draw(const TensorSpec& tensor, std::uint64_t seed, std::size_t first, std::span<float> out) {
  constexpr std::uint64_t step = 0x9E3779B97F4A7C15;
  const std::uint64_t base = fnv1a64(std::to_string(seed) + ":" + hugging_face_name(tensor.name)) + first * step;
  const auto [low, high] = interval_of(tensor);
  const float width = high - low;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto top = static_cast<std::int32_t>(splitmix64(base + (i + 1) * step) >> 40);
    const float scaled = width * (static_cast<float>(top) * 0x1p-24F);
    out[i] = bf16_to_float(float_to_bf16(low + scaled));
  }
}

bool synthesize(const SynthOptions& options) {
  check_quantization(options.quantization);
  const std::string json = read_text_file(options.config, longest_config);
  const CheckpointConfig config = parse_checkpoint_config(json, options.config.string());
  std::error_code ignored;
  if (!options.tokenizer.empty() && !std::filesystem::is_regular_file(options.tokenizer, ignored)) {
    throw Error(ErrorCode::not_found, options.tokenizer.string() + " is not a file");
  }

  PendingFolder folder(options.destination);
  WriteOptions write;
  write.form = options.quantization.bits != 0 ? CheckpointForm::mlx : CheckpointForm::hugging_face;
  write.quantization = options.quantization;
  write.threads = options.threads;
  write.progress = options.progress;
  if (!write_tensors(folder.path(), config.model, DrawnTensors(options.seed), write)) return false;
  write_config(folder.path(), json, options.quantization);
  if (!options.tokenizer.empty()) copy_to(folder.path() / "tokenizer.json", options.tokenizer);
  folder.commit();
  return true;
}

}  // namespace qwen35
