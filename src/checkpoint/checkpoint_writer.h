#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "checkpoint/config.h"
#include "checkpoint/layout.h"

namespace qwen35 {

/// Told how many of how many weights are written; returns false to stop. Never called by two threads at once.
using WriteProgress = std::function<bool(std::size_t done, std::size_t total)>;

/// Where the weights of a new checkpoint come from.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// Writes values [first, first + count) of a tensor, row-major, to `out`. Called by several threads at once.
  virtual void read(const TensorSpec& tensor, std::size_t first, std::size_t count, float* out) const = 0;
  /// False: zero-centred norms come as w of 1 + w.
  [[nodiscard]] virtual bool norms_as_applied() const = 0;
};

enum class CheckpointForm : std::uint8_t {
  hugging_face,  ///< everything bf16, conv [C, 1, taps], norms zero-centred
  mlx,           ///< conv [C, taps, 1], norms as applied; all but matrices float32, so that nothing is lost
};

struct WriteOptions {
  CheckpointForm form = CheckpointForm::mlx;
  Quantization quantization;  ///< bits == 0: matrices are bf16. Matrices whose columns no group divides stay bf16 too.
  int threads = 0;            ///< 0: one for each core
  WriteProgress progress;     ///< may be empty
};

/// A checkpoint folder in the making: DESTINATION.partial-XXXXXX beside it, renamed by commit() and removed otherwise.
class PendingFolder {
 public:
  /// Throws invalid_argument when `destination` is empty or exists or its parent does not.
  explicit PendingFolder(const std::filesystem::path& destination);
  PendingFolder(const PendingFolder&) = delete;
  PendingFolder& operator=(const PendingFolder&) = delete;
  ~PendingFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return partial_; }
  void commit();

 private:
  std::filesystem::path destination_;
  std::filesystem::path partial_;
  bool committed_ = false;
};

/// Writes `folder`/model.safetensors with all text tensors of `config`, in blocks of rows, so that memory stays at a
/// few megabytes a thread. Returns false when `progress` stopped it. Throws bad_file for weights that are not finite.
bool write_tensors(const std::filesystem::path& folder, const ModelConfig& config, const TensorSource& source,
                   const WriteOptions& options);

/// Writes `folder`/config.json: `json` unchanged but for the quantisation it states, which becomes that of the new
/// file.
void write_config(const std::filesystem::path& folder, const std::string& json, Quantization quantization);

/// Copies one file to a name that is free. Throws bad_file.
void copy_to(const std::filesystem::path& target, const std::filesystem::path& file);

/// Throws invalid_argument unless `quantization` is a layout that exists, or 0 bits.
void check_quantization(Quantization quantization);

}  // namespace qwen35
