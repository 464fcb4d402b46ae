#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace qwen35 {

class Regex;

/// Cuts text into words by the regular expression of a tokenizer.json ("Split", behaviour "Isolated"): the matches and
/// what lies between them. Immutable: const calls may run from many threads at once.
class Splitter {
 public:
  /// The expressions of Qwen2/Qwen3 and of Qwen3.5 are scanned by hand, in linear time and by the reference's Unicode
  /// version; any other goes to PCRE2. Throws bad_file naming `source` when the expression does not compile.
  Splitter(const std::string& regex, const std::string& source);
  Splitter(Splitter&&) noexcept;
  Splitter& operator=(Splitter&&) noexcept;
  ~Splitter();

  using Visitor = std::function<void(std::string_view word)>;
  /// Calls `visit` with the words of well-formed UTF-8 in order; joined they are the text. Throws unsupported when an
  /// expression needs more than PCRE2's limits allow.
  void split(std::string_view text, const Visitor& visit) const;

  static const std::string_view qwen2_regex;
  static const std::string_view qwen35_regex;

  /// Through PCRE2 whatever the expression: what the tests compare the scanner with.
  static Splitter with_pcre2(const std::string& regex, const std::string& source);

 private:
  Splitter();
  bool marks_join_letters_ = false;  ///< Qwen3.5 reads \p{M} as part of a word, Qwen2 as punctuation
  std::unique_ptr<Regex> pattern_;   ///< null: scanned by hand
};

}  // namespace qwen35
