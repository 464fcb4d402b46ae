#include "hub/partial_file.h"

#include <fcntl.h>
#include <qwen35/error.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "hub/cache.h"
#include "hub/names.h"

namespace qwen35::hub {
namespace {

std::uint64_t free_bytes_at(std::filesystem::path path) {
  struct statvfs info {};
  while (statvfs(path.empty() ? "." : path.c_str(), &info) != 0) {
    // Not told: then writing will tell.
    if (path.empty() || path == path.root_path()) return std::numeric_limits<std::uint64_t>::max();
    path = path.parent_path();
  }
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace

Disk Disk::system() {
  return {.free_bytes = free_bytes_at,
          .write = [](int fd, const void* bytes, std::size_t size) { return ::write(fd, bytes, size); }};
}

PartialFile::PartialFile(const RemoteFile& file, std::filesystem::path path, const Disk& disk,
                         const std::function<void()>& tick)
    : file_(file),
      path_(std::move(path)),
      disk_(disk),
      digest_(file.hash, file.size),
      fd_(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666)) {
  if (fd_ < 0) fail_with("cannot write", path_, errno);
  try {
    struct stat info {};
    if (fstat(fd_, &info) != 0) fail_with("cannot read", path_, errno);
    if (!S_ISREG(info.st_mode)) fail_with("cannot write", path_, EINVAL);
    if (static_cast<std::uint64_t>(info.st_size) > file_.size) restart();
    std::vector<std::byte> block(std::size_t{1} << 20);
    while (true) {
      const ssize_t count = read(fd_, block.data(), block.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail_with("cannot read", path_, errno);
      if (count == 0) break;
      digest_.add(std::span(block).first(static_cast<std::size_t>(count)));
      size_ += static_cast<std::uint64_t>(count);
      tick();
    }
  } catch (...) {
    close(fd_);
    throw;
  }
}

PartialFile::~PartialFile() {
  if (fd_ >= 0) close(fd_);
}

void PartialFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = disk_.write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int error = count < 0 ? errno : ENOSPC;
      throw Error(ErrorCode::bad_file,
                  "cannot write " + path_.string() + ": " + std::strerror(error) + "; " +
                      human_bytes(file_.size - size_) + " of " + in_quotes(file_.path) +
                      " are still to come. Make room, or choose another folder with HF_HUB_CACHE; the next try goes "
                      "on from here");
    }
    const auto written = bytes.first(static_cast<std::size_t>(count));
    digest_.add(written);
    size_ += written.size();
    bytes = bytes.subspan(written.size());
  }
}

void PartialFile::restart() {
  if (ftruncate(fd_, 0) != 0 || lseek(fd_, 0, SEEK_SET) != 0) fail_with("cannot write", path_, errno);
  digest_.restart();
  size_ = 0;
}

std::string PartialFile::check() {
  if (size_ != file_.size) {
    return "it has " + std::to_string(size_) + " bytes, not the " + std::to_string(file_.size) + " of the listing";
  }
  const std::string hash = digest_.finish();
  if (hash == file_.hash) return {};
  return std::string("its ") + digest_.name() + " is " + hash + ", not the " + file_.hash + " of the listing";
}

void PartialFile::finish(const std::filesystem::path& blob) {
  // Before the name: after a power cut a name must not stand for bytes that never came.
  if (fsync(fd_) != 0) fail_with("cannot write", path_, errno);
  if (rename(path_.c_str(), blob.c_str()) != 0) fail_with("cannot put a file in its place at", blob, errno);
}

}  // namespace qwen35::hub
