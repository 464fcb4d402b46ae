#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace qwen35::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::filesystem::path data_path(const std::string& name) {
  return std::filesystem::path(QWEN35_TEST_DATA) / "text" / name;
}

/// Reference data too large for the repository: the environment variable, else the folder CMake was given.
inline std::filesystem::path shared_path(const std::string& name) {
  const char* from_environment = std::getenv("QWEN35_SHARED_DIR");
  return std::filesystem::path(from_environment != nullptr ? from_environment : QWEN35_SHARED_DIR) / name;
}

/// The contents of an .xz file. Throws when there is no xz command.
inline std::string read_xz(const std::filesystem::path& path) {
  const std::string command = "xz -dc '" + path.string() + "'";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  std::string out;
  std::array<char, 1 << 16> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  if (::pclose(pipe) != 0) throw std::runtime_error(command + " failed");
  return out;
}

}  // namespace qwen35::test

/// Ends the test as skipped when the reference data is not there.
#define QWEN35_NEED_SHARED(name)                                                               \
  if (!std::filesystem::exists(qwen35::test::shared_path(name))) {                             \
    GTEST_SKIP() << qwen35::test::shared_path(name) << " is not there; set QWEN35_SHARED_DIR"; \
  }                                                                                            \
  static_assert(true)
