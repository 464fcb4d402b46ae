#include "cli/text_io.h"

#include <qwen35/error.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <span>
#include <system_error>

#include "base/file_writer.h"

namespace qwen35::cli {
namespace {

std::string reason() { return std::strerror(errno); }

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
  std::error_code error;
  if (const auto status = std::filesystem::status(path, error); std::filesystem::exists(status)) {
    if (!overwrite) {
      throw Error(ErrorCode::invalid_argument,
                  path.string() + " is there already; ask for it to be overwritten, or choose another name");
    }
    if (!std::filesystem::is_regular_file(status)) {
      throw Error(ErrorCode::invalid_argument, path.string() + " is not a regular file; choose another name");
    }
  }
  FileWriter file(path);
  file.write(std::as_bytes(std::span(text)));
  file.commit(overwrite);
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
