// load_weights on an arbitrary model.safetensors beside a small sound config.json: what loads must be readable whole.

#include <qwen35/error.h>
#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "checkpoint/weights.h"

namespace {

constexpr const char* config = R"({"model_type":"qwen3_5_text","vocab_size":8,"hidden_size":32,"intermediate_size":32,
"num_hidden_layers":2,"layer_types":["linear_attention","full_attention"],"num_attention_heads":1,
"num_key_value_heads":1,"head_dim":8,"linear_num_key_heads":1,"linear_num_value_heads":1,"linear_key_head_dim":4,
"linear_value_head_dim":32,"linear_conv_kernel_dim":2,"rope_theta":10000,"quantization":{"bits":4,"group_size":32}})";

/// A folder of this process, on a file system in memory where there is one.
class Folder {
 public:
  Folder() {
    std::string pattern = std::filesystem::exists("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
    pattern += "/qwen35-fuzz-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
    std::ofstream(path_ / "config.json") << config;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  std::ofstream(folder.path() / "model.safetensors", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    const qwen35::ModelWeights weights = qwen35::load_weights(folder.path());
    std::vector<float> row;
    for (const qwen35::WeightMatrix* matrix : weights.matrices()) {
      row.resize(matrix->cols);
      for (std::size_t r = 0; r < matrix->rows; ++r) matrix->row(r, row.data());
    }
  } catch (const qwen35::Error&) {
    // refused, as it should be
  }
  return 0;
}
