#include "base/file_writer.h"

#include <qwen35/error.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace qwen35 {

FileWriter::FileWriter(const std::filesystem::path& path) : path_(path), temporary_(path.string() + ".XXXXXX") {
  fd_ = mkstemp(temporary_.data());
  if (fd_ < 0) fail(errno);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(written == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void FileWriter::write_at(std::size_t position, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(written == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    position += static_cast<std::size_t>(written);
  }
}

void FileWriter::commit(bool overwrite) {
  if (fsync(fd_) != 0 && errno != EINVAL) fail(errno);
  // link() refuses a name that has come into being since; a file system without links must do without that.
  if (!overwrite) {
    if (link(temporary_.c_str(), path_.c_str()) == 0) return;
    if (errno == EEXIST) fail(errno);
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  temporary_.clear();
}

void FileWriter::fail(int error) const {
  if (error == EEXIST) {
    throw Error(ErrorCode::invalid_argument,
                path_.string() + " is there already; ask for it to be overwritten, or choose another name");
  }
  throw Error(ErrorCode::bad_file, "cannot write " + path_.string() + ": " + std::strerror(error));
}

}  // namespace qwen35
