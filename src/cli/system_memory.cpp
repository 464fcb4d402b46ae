#include "cli/system_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace qwen35::cli {
namespace {

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

/// Links are followed: the Hugging Face cache is a folder of links.
template <typename Action>
void for_each_file(const std::filesystem::path& folder, Action&& action) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.is_regular_file(error)) continue;
    const OpenFile file(entry.path());
    if (file.fd() >= 0) action(file.fd());
  }
}

#if defined(__linux__)
/// Whether no page of the file is in the page cache. Where the kernel may not tell us, it says that all are.
bool is_absent(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return false;
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return true;
  void* const map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return false;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((size + page - 1) / page);
  bool absent = ::mincore(map, size, resident.data()) == 0;
  for (const unsigned char flags : resident) absent = absent && (flags & 1U) == 0;
  ::munmap(map, size);
  return absent;
}
#endif

}  // namespace

void fill_page_cache(const std::filesystem::path& folder) {
  std::vector<char> buffer(std::size_t{1} << 20);
  for_each_file(folder, [&buffer](int fd) {
    while (::read(fd, buffer.data(), buffer.size()) > 0) {
    }
  });
}

bool drop_page_cache([[maybe_unused]] const std::filesystem::path& folder) {
#if defined(__linux__)
  bool absent = true;
  for_each_file(folder, [&absent](int fd) {
    ::fdatasync(fd);  // pages not yet written cannot be dropped: a checkpoint may be seconds old
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    absent = is_absent(fd) && absent;
  });
  return absent;
#else
  return false;
#endif
}

void release_freed_memory() noexcept {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

bool reset_peak_resident() noexcept {
  const int fd = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, "5", 1) == 1;  // proc(5): 5 resets the peak
  ::close(fd);
  return written;
}

std::optional<std::size_t> peak_resident_bytes() {
  constexpr std::string_view kLabel = "VmHWM:";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(kLabel)) continue;
    return std::size_t{1024} * std::strtoull(line.c_str() + kLabel.size(), nullptr, 10);  // in kB
  }
  return std::nullopt;
}

}  // namespace qwen35::cli
