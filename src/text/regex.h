#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace qwen35 {

/// A regular expression by PCRE2 with its JIT compiler, in Unicode mode. Immutable: const calls may run from many
/// threads at once.
class Regex {
 public:
  /// Throws bad_file naming `source` when the expression does not compile.
  Regex(const std::string& pattern, const std::string& source);
  ~Regex();

  /// Calls `visit` with each match and each gap between matches, in order; empty matches count for nothing. `text` is
  /// well-formed UTF-8. Throws unsupported when the expression needs more than PCRE2's limits allow.
  void split(std::string_view text, const std::function<void(std::string_view)>& visit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35
