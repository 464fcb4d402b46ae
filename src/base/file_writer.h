#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace qwen35 {

/// A file in the making: written beside its place under a name of its own (mode 0600) and put there in one step by
/// commit(), so that `path` holds all of it or what it held before. Without commit() nothing stays. Throws Error
/// (bad_file) naming the path and the system's reason.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Writes over what stands at `position`; the end stays where it is.
  void write_at(std::size_t position, std::span<const std::byte> bytes);
  /// `overwrite` false: throws invalid_argument when the path has come into being.
  void commit(bool overwrite = true);

 private:
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace qwen35
