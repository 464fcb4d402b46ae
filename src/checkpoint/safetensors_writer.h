#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace qwen35 {

/// A tensor to be written: its place in the file follows from the plan.
struct PlannedTensor {
  std::string name;
  DType dtype = DType::bf16;
  std::vector<std::size_t> shape;
};

/// Writes one safetensors file of any size, piece by piece and in any order: every offset is known from the plan.
/// Larger element types come first, as the format's own library orders them, so that every tensor is aligned. write()
/// may be called by several threads at once. Throws bad_file when the system refuses.
class SafetensorsWriter {
 public:
  /// Creates `path`, which must not exist, and writes the header. `format` becomes __metadata__.format.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<PlannedTensor> plan, const std::string& format);
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  ~SafetensorsWriter();

  /// Where `name` stands in the plan, for write(). Throws internal when it is not planned.
  [[nodiscard]] std::size_t index_of(std::string_view name) const;
  /// Writes `bytes` at `offset` bytes into tensor `index`. Every byte of the plan is to be written exactly once.
  void write(std::size_t index, std::size_t offset, std::span<const std::byte> bytes);
  /// Closes the file. Throws internal when bytes of the plan were not written.
  void finish();

 private:
  void write_at(std::size_t position, std::span<const std::byte> bytes) const;

  std::filesystem::path path_;
  std::vector<PlannedTensor> plan_;
  std::vector<std::size_t> starts_;  ///< position in the file of each tensor, and of the end
  std::atomic<std::size_t> written_ = 0;
  int descriptor_ = -1;
};

}  // namespace qwen35
