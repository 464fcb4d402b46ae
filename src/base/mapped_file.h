#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace qwen35 {

/// A whole file mapped for reading. Movable; the bytes live as long as the object. Throws not_found or bad_file.
/// A file that another process truncates while it is mapped raises SIGBUS on access: the one hazard mmap leaves.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Tells the system that the pages of `part` (inside bytes()) are not needed for now: they leave the resident set
  /// and are read again on the next access.
  void release(std::span<const std::byte> part) const noexcept;

 private:
  void unmap() noexcept;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace qwen35
