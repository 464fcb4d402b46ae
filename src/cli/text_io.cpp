#include "cli/text_io.h"

#include <fcntl.h>
#include <qwen35/error.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <system_error>

namespace qwen35::cli {
namespace {

std::string reason() { return std::strerror(errno); }

/// Owns a file descriptor and, until kept, the file's name.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& beside) : name_(beside.string() + ".XXXXXX") {
    fd_ = mkstemp(name_.data());  // mode 0600
  }
  ~TemporaryFile() {
    if (fd_ >= 0) close(fd_);
    if (!name_.empty()) unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  [[nodiscard]] bool ok() const { return fd_ >= 0; }
  [[nodiscard]] const std::string& name() const { return name_; }

  bool write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(fd_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    return fsync(fd_) == 0 || errno == EINVAL;
  }

 private:
  std::string name_;
  int fd_ = -1;
};

std::string slurp(std::istream& in, std::size_t limit, const std::string& name) {
  std::string text;
  char block[1 << 16];
  while (in.read(block, sizeof block), in.gcount() > 0) {
    const auto count = static_cast<std::size_t>(in.gcount());
    if (count > limit - text.size()) {
      throw Error(ErrorCode::bad_file,
                  name + " is larger than " + std::to_string(limit) + " bytes, the most read here");
    }
    text.append(block, count);
  }
  if (in.bad()) throw Error(ErrorCode::bad_file, "cannot read " + name + ": " + reason());
  return text;
}

}  // namespace

void write_output(std::string_view text) {
  errno = 0;
  std::cout.write(text.data(), static_cast<std::streamsize>(text.size())).flush();
  check_output();
}

void check_output() {
  if (std::cout.good()) errno = 0;
  std::cout.flush();
  if (std::cout.good()) return;
  throw std::system_error(errno != 0 ? errno : EIO, std::generic_category(), "cannot write to standard output");
}

std::optional<std::string> read_line(std::istream& in, std::size_t limit, std::string_view what) {
  std::string line;
  bool too_long = false;
  std::streambuf* const buffer = in.rdbuf();
  constexpr int kEnd = std::char_traits<char>::eof();
  int c = buffer->sbumpc();
  if (c == kEnd) return std::nullopt;
  for (; c != kEnd && c != '\n'; c = buffer->sbumpc()) {
    if (line.size() < limit) {
      line.push_back(std::char_traits<char>::to_char_type(c));
    } else {
      too_long = true;
    }
  }
  if (too_long) {
    throw Error(ErrorCode::invalid_argument,
                std::string(what) + " is longer than " + std::to_string(limit) + " bytes, the most a line may hold");
  }
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return line;
}

std::string read_all(const std::filesystem::path& path, std::size_t limit) {
  if (path == "-") return slurp(std::cin, limit, "standard input");
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) throw Error(ErrorCode::not_found, "there is no file " + path.string());
  if (std::filesystem::is_directory(status)) {
    throw Error(ErrorCode::invalid_argument, path.string() + " is a folder; give a file");
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::bad_file, "cannot open " + path.string() + ": " + reason());
  return slurp(file, limit, path.string());
}

void write_file(const std::filesystem::path& path, std::string_view text, bool overwrite) {
  const auto fail = [&](int error) {
    if (error == EEXIST) {
      throw Error(ErrorCode::invalid_argument, path.string() +
                                                   " is there already; ask for it to be overwritten, or "
                                                   "choose another name");
    }
    throw Error(ErrorCode::bad_file, "cannot write " + path.string() + ": " + std::strerror(error));
  };
  std::error_code error;
  if (const auto status = std::filesystem::status(path, error); std::filesystem::exists(status)) {
    if (!overwrite) fail(EEXIST);
    if (!std::filesystem::is_regular_file(status)) {
      throw Error(ErrorCode::invalid_argument, path.string() + " is not a regular file; choose another name");
    }
  }
  TemporaryFile temporary(path);
  if (!temporary.ok() || !temporary.write(text)) fail(errno);
  // link() refuses a name that has come into being since the check; a file system without links must do with the check.
  if (!overwrite) {
    if (link(temporary.name().c_str(), path.c_str()) == 0) return;
    if (errno == EEXIST) fail(errno);
  }
  if (rename(temporary.name().c_str(), path.c_str()) != 0) fail(errno);
}

std::string terminal_safe(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F) continue;
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      ++i;  // U+0080 to U+009F
      continue;
    }
    safe.push_back(text[i]);
  }
  return safe;
}

}  // namespace qwen35::cli
