#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "hub/digest.h"

namespace qwen35::hub {

/// What a download asks of the disk, so that tests can fill it.
struct Disk {
  std::function<std::uint64_t(const std::filesystem::path&)> free_bytes;  ///< where `path` is or would be made
  std::function<ssize_t(int, const void*, std::size_t)> write;            ///< as write(2)
  static Disk system();
};

/// A file of the hub and the name of its bytes.
struct RemoteFile {
  std::string path;
  std::uint64_t size = 0;
  std::string hash;  ///< 64 digits: SHA-256; 40: git's SHA-1
};

/// `<hash>.incomplete`: what has come of a file, and the hash of it so far. Whoever has the blob's lock may have one.
class PartialFile {
 public:
  /// Takes up what an earlier run left; `tick` is called now and then while that is read. Throws bad_file.
  PartialFile(const RemoteFile& file, std::filesystem::path path, const Disk& disk, const std::function<void()>& tick);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Throws bad_file: a full disk, told with what is still to come.
  void append(std::span<const std::byte> bytes);
  /// Begins anew with nothing.
  void restart();
  /// "" when the whole file is what it should be, else what it is instead. Only restart() may follow the latter.
  [[nodiscard]] std::string check();
  /// After check(): gives the file its name, in one step and on the disk.
  void finish(const std::filesystem::path& blob);

 private:
  const RemoteFile& file_;
  std::filesystem::path path_;
  const Disk& disk_;
  Digest digest_;
  int fd_;
  std::uint64_t size_ = 0;
};

}  // namespace qwen35::hub
