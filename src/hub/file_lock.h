#pragma once

#include <filesystem>
#include <optional>
#include <utility>

namespace qwen35::hub {

/// A lock between processes (flock), the kind that huggingface_hub takes: it goes with the process, whatever ends it.
/// The file itself stays, empty.
class FileLock {
 public:
  /// nullopt when somebody else, this process included, holds it. Makes the folders before it. Throws bad_file.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path);
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace qwen35::hub
