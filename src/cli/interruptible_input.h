#pragma once

#include <array>
#include <streambuf>

namespace qwen35::cli {

/// Reads a descriptor for a std::istream. Ctrl-C ends the input: the caller holds a PollInterrupt and asks
/// interrupted().
class InterruptibleInput : public std::streambuf {
 public:
  /// `fd` stays the caller's.
  explicit InterruptibleInput(int fd) : fd_(fd) {}

 protected:
  int_type underflow() override;

 private:
  int fd_;
  std::array<char, 4096> buffer_{};
};

}  // namespace qwen35::cli
