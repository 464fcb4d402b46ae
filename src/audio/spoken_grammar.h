#pragma once

#include <map>
#include <string>
#include <string_view>

namespace qwen35 {

/// A JSGF grammar made ready for a decoder whose dictionary is in small letters.
struct SpokenGrammar {
  std::string text;                             ///< the grammar, its words in small letters
  std::map<std::string, std::string> spelling;  ///< small letters to how the grammar writes the word, where it differs

  /// `hypothesis`, words between spaces, as the grammar spells them.
  [[nodiscard]] std::string spell(std::string_view hypothesis) const;
};

/// Reads JSGF. Names in <...>, comments, the header and declarations stay as they are. Throws bad_file naming `what`
/// when it does not begin with "#JSGF".
SpokenGrammar parse_grammar(std::string_view text, const std::string& what);

}  // namespace qwen35
