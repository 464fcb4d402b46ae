#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace qwen35::hub {

/// The hash by which the hub names a file: SHA-256 of its bytes (large files, 64 digits) or git's SHA-1 of a blob
/// (small ones, 40 digits: a header with the size, then the bytes).
class Digest {
 public:
  /// `expected`: the name; its length says which hash. `size`: of the whole file.
  Digest(const std::string& expected, std::uint64_t size);
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void restart();
  void add(std::span<const std::byte> bytes);
  /// In hexadecimal digits; after it only restart().
  [[nodiscard]] std::string finish();
  /// "SHA-256" or "git SHA-1".
  [[nodiscard]] const char* name() const { return git_ ? "git SHA-1" : "SHA-256"; }

 private:
  bool git_;
  std::uint64_t size_;
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

}  // namespace qwen35::hub
