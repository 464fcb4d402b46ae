#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weights.h"

namespace qwen35 {

/// One tensor of the text model in an open checkpoint.
struct StoredTensor {
  std::string name;                  ///< as the file spells it
  const MappedFile* file = nullptr;  ///< for errors and for releasing pages
  DType dtype = DType::bf16;
  std::vector<std::size_t> shape;
  std::span<const std::byte> bytes;  ///< aligned to the element size

  /// "FILE: tensor NAME", the start of an error about it.
  [[nodiscard]] std::string label() const;
  /// Throws bad_file unless the values are bf16, f16 or f32.
  [[nodiscard]] FloatType float_type() const;
  /// Lets the pages of bytes [first, first + count) leave memory, if they are the file's.
  void release(std::size_t first, std::size_t count) const noexcept;
};

/// The safetensors files of a checkpoint folder, mapped, with their text tensors by plain name (layout.h). Tensors of
/// the vision tower and of multi-token prediction are left out. Immutable; any thread may read.
class TensorFiles {
 public:
  /// Opens model.safetensors, else the shards of model.safetensors.index.json, else the only *.safetensors of the
  /// folder. Throws not_found or bad_file; an index may name only files of the folder itself.
  explicit TensorFiles(const std::filesystem::path& folder);

  /// nullptr when the checkpoint has no such tensor.
  [[nodiscard]] const StoredTensor* find(std::string_view plain) const;
  [[nodiscard]] const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  /// True when any file's metadata says that MLX wrote it.
  [[nodiscard]] bool written_by_mlx() const { return written_by_mlx_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  void release_pages() const noexcept;
  /// The pages of `part` alone; nothing when it is not in a mapped file (an aligned copy).
  void release_pages(std::span<const std::byte> part) const noexcept;

 private:
  void open(const std::filesystem::path& path, const std::map<std::string, std::string, std::less<>>* weight_map);

  std::filesystem::path folder_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  std::vector<std::unique_ptr<std::byte[]>> aligned_copies_;
  bool written_by_mlx_ = false;
};

/// MLX files store every norm as it is applied, Hugging Face ones most of them as w of 1 + w. An MLX file is known by
/// quantised matrices, by conv weights of [channels, taps, 1], or else by its metadata.
bool stores_norms_as_applied(const TensorFiles& files, const ModelConfig& config);

}  // namespace qwen35
