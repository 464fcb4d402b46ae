#include "hub/file_lock.h"

#include <fcntl.h>
#include <qwen35/error.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace qwen35::hub {

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  while (true) {
    FileLock lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    int status = lock.fd_ < 0 ? -1 : flock(lock.fd_, LOCK_EX | LOCK_NB);
    while (status != 0 && lock.fd_ >= 0 && errno == EINTR) status = flock(lock.fd_, LOCK_EX | LOCK_NB);
    if (status != 0) {
      if (lock.fd_ >= 0 && errno == EWOULDBLOCK) return std::nullopt;
      throw Error(ErrorCode::bad_file, "cannot lock " + path.string() + ": " + std::strerror(errno) +
                                           "; the cache must be on a disk with locks where you may write "
                                           "(HF_HUB_CACHE)");
    }
    // Some programs delete the file when they give the lock back: then this is a lock on a file that nobody finds.
    struct stat ours {};
    struct stat there {};
    if (fstat(lock.fd_, &ours) == 0 && stat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
        ours.st_dev == there.st_dev) {
      return lock;
    }
  }
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace qwen35::hub
