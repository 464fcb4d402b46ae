#include "checkpoint/convert.h"

#include <qwen35/error.h>

#include <string>
#include <string_view>

#include "checkpoint/float_values.h"
#include "checkpoint/json_document.h"
#include "checkpoint/tensor_files.h"
#include "checkpoint/weights.h"

namespace qwen35 {
namespace {

constexpr std::size_t longest_config = 16U << 20U;

/// What belongs to the model beside its weights and config.json.
constexpr std::string_view carried_files[] = {"tokenizer.json",
                                              "tokenizer_config.json",
                                              "vocab.json",
                                              "merges.txt",
                                              "special_tokens_map.json",
                                              "added_tokens.json",
                                              "chat_template.jinja",
                                              "chat_template.json",
                                              "generation_config.json",
                                              "LICENSE",
                                              "LICENSE.md",
                                              "NOTICE"};

/// The tensors of an open checkpoint that load_weights has found in order. Both conv layouts are channels × taps in
/// memory, so the element order is that of the specification either way.
class StoredTensors final : public TensorSource {
 public:
  StoredTensors(const TensorFiles& files, bool norms_as_applied) : files_(files), norms_as_applied_(norms_as_applied) {}

  void read(const TensorSpec& spec, std::size_t first, std::size_t count, float* out) const override {
    const StoredTensor& tensor = *files_.find(spec.name);
    const FloatType type = tensor.float_type();
    to_floats(type, tensor.bytes.data(), first, count, out);
    const std::size_t size = float_size(type);
    tensor.release(first * size, count * size);
  }
  [[nodiscard]] bool norms_as_applied() const override { return norms_as_applied_; }

 private:
  const TensorFiles& files_;
  bool norms_as_applied_;
};

}  // namespace

bool convert(const ConvertOptions& options) {
  check_quantization(options.quantization);
  const ModelWeights weights = load_weights(options.source);  // checks every tensor
  for (const WeightMatrix* matrix : weights.matrices()) {
    if (matrix->quantized()) {
      throw Error(ErrorCode::unsupported, options.source.string() + ": " + matrix->name +
                                              " is quantised already; convert from the bf16 checkpoint instead, since "
                                              "rounding twice only loses");
    }
  }
  const auto config_path = options.source / "config.json";
  const std::string config = read_text_file(config_path, longest_config);

  PendingFolder folder(options.destination);
  WriteOptions write;
  write.form = CheckpointForm::mlx;
  write.quantization = options.quantization;
  write.threads = options.threads;
  write.progress = options.progress;
  const TensorFiles files(options.source);
  const StoredTensors source(files, stores_norms_as_applied(files, weights.config));
  if (!write_tensors(folder.path(), weights.config, source, write)) return false;
  write_config(folder.path(), config, options.quantization);
  for (const std::string_view name : carried_files) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(options.source / name, ignored)) {
      copy_to(folder.path() / name, options.source / name);
    }
  }
  folder.commit();
  return true;
}

}  // namespace qwen35
