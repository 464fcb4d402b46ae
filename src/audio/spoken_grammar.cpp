#include "audio/spoken_grammar.h"

#include <qwen35/error.h>

#include <algorithm>

namespace qwen35 {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

std::string SpokenGrammar::spell(std::string_view hypothesis) const {
  std::string out;
  while (!hypothesis.empty()) {
    const std::size_t end = std::min(hypothesis.find(' '), hypothesis.size());
    const std::string word(hypothesis.substr(0, end));
    hypothesis.remove_prefix(std::min(end + 1, hypothesis.size()));
    if (word.empty()) continue;
    const auto known = spelling.find(word);
    if (!out.empty()) out += ' ';
    out += known == spelling.end() ? word : known->second;
  }
  return out;
}

SpokenGrammar parse_grammar(std::string_view text, const std::string& what) {
  if (!text.starts_with("#JSGF")) {
    throw Error(ErrorCode::bad_file, what + ": does not begin with \"#JSGF V1.0;\"; expected a grammar in JSGF");
  }
  SpokenGrammar grammar;
  std::string& out = grammar.text;
  std::size_t pos = std::min(text.find('\n'), text.size());
  out = text.substr(0, pos);
  const auto copy_until = [&](std::string_view end) {
    const std::size_t found = text.find(end, pos);
    const std::size_t stop = found == std::string_view::npos ? text.size() : found + end.size();
    out += text.substr(pos, stop - pos);
    pos = stop;
  };
  while (pos < text.size()) {
    const std::string_view rest = text.substr(pos);
    if (rest.starts_with("//")) {
      copy_until("\n");
    } else if (rest.starts_with("/*")) {
      copy_until("*/");
    } else if (rest.front() == '<') {
      copy_until(">");
    } else if (rest.front() == '{') {
      copy_until("}");
    } else if (is_letter(rest.front())) {
      std::size_t length = 1;
      while (length < rest.size() &&
             (is_letter(rest[length]) || std::string_view("'-.").find(rest[length]) != std::string_view::npos))
        ++length;
      const std::string word(rest.substr(0, length));
      std::string lower = word;
      std::ranges::transform(lower, lower.begin(), to_lower);
      if (lower != word) grammar.spelling.emplace(lower, word);
      out += lower;
      pos += length;
    } else {
      out += rest.front();
      ++pos;
    }
  }
  return grammar;
}

}  // namespace qwen35
