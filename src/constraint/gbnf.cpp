#include "constraint/gbnf.h"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/utf8.h"

namespace qwen35::constraint {
namespace {

constexpr std::size_t size_limit = 1 << 20;  // bytes
constexpr int group_limit = 64;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class Reader {
 public:
  Reader(std::string_view text, Expressions& out) : text_(text), out_(out) {}

  RuleId read() {
    if (text_.size() > size_limit) {
      refuse("the grammar", "has " + std::to_string(text_.size()) + " bytes; at most " + std::to_string(size_limit) +
                                " are supported");
    }
    if (!is_valid_utf8(text_)) refuse("the grammar", "is not well-formed UTF-8");
    skip(true);
    while (pos_ < text_.size()) {
      const std::size_t begin = pos_;
      const std::string name = read_name();
      skip(false);
      if (text_.substr(pos_, 3) != "::=") fail("expected `::=` behind the rule's name");
      pos_ += 3;
      skip(true);
      const RuleId id = rule(name);
      if (out_.rules()[id].defined) {
        pos_ = begin;
        fail("the rule " + name + " is defined twice");
      }
      out_.define(id, alternatives(0));
      if (pos_ < text_.size() && text_[pos_] != '\n' && text_[pos_] != '\r') {
        fail("expected a literal, a class, a rule, `|` or the end of the line");
      }
      skip(true);
    }
    const auto root = rules_.find("root");
    if (root == rules_.end() || !out_.rules()[root->second].defined) {
      refuse("the grammar", "has no rule `root`; the text is made by it");
    }
    for (const auto& [name, id] : rules_) {
      if (!out_.rules()[id].defined) refuse("rule " + name, "is used but not defined; define it");
    }
    return root->second;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    std::size_t line = 1;
    std::size_t column = 1;
    for (std::size_t i = 0; i < pos_ && i < text_.size(); ++i) {
      column = text_[i] == '\n' ? 1 : column + 1;
      line += text_[i] == '\n' ? 1 : 0;
    }
    std::string found = "the end";
    if (pos_ < text_.size()) {
      const std::size_t length = decode_utf8(text_.substr(pos_)).length;
      found = text_[pos_] == '\n' ? "the end of the line" : "`" + std::string(text_.substr(pos_, length)) + "`";
    }
    refuse("the grammar, line " + std::to_string(line) + " column " + std::to_string(column),
           message + ", found " + found);
  }

  /// White space and comments; over line ends only where `lines`.
  void skip(bool lines) {
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      if (c == '#') {
        while (pos_ < text_.size() && text_[pos_] != '\n' && text_[pos_] != '\r') ++pos_;
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        ++pos_;
      } else {
        return;
      }
    }
  }

  std::string read_name() {
    const std::size_t begin = pos_;
    while (pos_ < text_.size() && is_name(text_[pos_])) ++pos_;
    if (pos_ == begin) fail("expected the name of a rule");
    return std::string(text_.substr(begin, pos_ - begin));
  }

  RuleId rule(const std::string& name) {
    const auto known = rules_.find(name);
    if (known != rules_.end()) return known->second;
    const RuleId id = out_.add_rule("rule " + name);
    rules_.emplace(name, id);
    return id;
  }

  ExprId alternatives(int depth) {
    if (depth > group_limit) fail("groups nest deeper than " + std::to_string(group_limit));
    std::vector<ExprId> options{sequence(depth)};
    while (pos_ < text_.size() && text_[pos_] == '|') {
      ++pos_;
      skip(true);
      options.push_back(sequence(depth));
    }
    return options.size() == 1 ? options[0] : out_.choice(std::move(options));
  }

  ExprId sequence(int depth) {
    std::vector<ExprId> parts;
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      ExprId part = 0;
      if (c == '"') {
        part = literal();
      } else if (c == '[') {
        part = char_class();
      } else if (c == '.') {
        ++pos_;
        part = out_.code_points(CodePoints::all());
      } else if (c == '(') {
        ++pos_;
        skip(true);
        part = alternatives(depth + 1);
        if (pos_ >= text_.size() || text_[pos_] != ')') fail("expected `)`");
        ++pos_;
      } else if (is_name(c)) {
        part = out_.rule(rule(read_name()));
      } else {
        break;
      }
      skip(depth > 0);
      parts.push_back(quantified(part, depth));
    }
    return parts.size() == 1 ? parts[0] : out_.sequence(std::move(parts));
  }

  ExprId quantified(ExprId part, int depth) {
    int count = 0;
    while (pos_ < text_.size()) {
      const char c = text_[pos_];
      std::uint32_t min = 0;
      std::uint32_t max = unbounded;
      if (c == '*' || c == '+' || c == '?') {
        ++pos_;
        min = c == '+' ? 1 : 0;
        if (c == '?') max = 1;
      } else if (c == '{') {
        ++pos_;
        braces(min, max);
      } else {
        break;
      }
      if (++count > 8) fail("more than 8 repetitions of one part");
      part = out_.repeat(part, min, max);
      skip(depth > 0);
    }
    return part;
  }

  void braces(std::uint32_t& min, std::uint32_t& max) {
    skip(false);
    const bool has_min = pos_ < text_.size() && text_[pos_] != ',';
    if (has_min) min = number();
    skip(false);
    if (pos_ < text_.size() && text_[pos_] == ',') {
      ++pos_;
      skip(false);
      if (pos_ < text_.size() && text_[pos_] != '}') {
        max = number();
      } else if (!has_min) {
        fail("expected a number of repetitions");
      }
    } else {
      max = min;
    }
    skip(false);
    if (pos_ >= text_.size() || text_[pos_] != '}') fail("expected `}`");
    if (min > max) fail("the repetition's minimum is above its maximum");
    ++pos_;
  }

  std::uint32_t number() {
    std::uint32_t value = 0;
    const std::size_t begin = pos_;
    while (pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '9') {
      value = value * 10 + static_cast<std::uint32_t>(text_[pos_] - '0');
      if (value > repetition_limit) {
        pos_ = begin;
        fail("a part can be repeated at most " + std::to_string(repetition_limit) + " times");
      }
      ++pos_;
    }
    if (pos_ == begin) fail("expected a number of repetitions");
    return value;
  }

  ExprId literal() {
    ++pos_;
    std::string bytes;
    while (true) {
      if (pos_ >= text_.size() || text_[pos_] == '\n') fail("expected `\"` at the end of the literal");
      if (text_[pos_] == '"') break;
      append_utf8(bytes, character());
    }
    ++pos_;
    return out_.bytes(bytes);
  }

  ExprId char_class() {
    ++pos_;
    const bool negated = pos_ < text_.size() && text_[pos_] == '^';
    if (negated) ++pos_;
    std::vector<CodePointRange> ranges;
    while (true) {
      if (pos_ >= text_.size() || text_[pos_] == '\n') fail("expected `]` at the end of the class");
      if (text_[pos_] == ']') break;
      const char32_t first = character();
      char32_t last = first;
      if (text_.substr(pos_, 1) == "-" && text_.substr(pos_ + 1, 1) != "]") {
        ++pos_;
        if (pos_ >= text_.size() || text_[pos_] == '\n') fail("expected `]` at the end of the class");
        last = character();
        if (last < first) fail("the range in the class runs backwards");
      }
      ranges.push_back({first, last});
    }
    ++pos_;
    CodePoints set(std::move(ranges));
    if (negated) set = set.complement();
    if (set.empty()) fail("the class before this place has no member");
    return out_.code_points(set);
  }

  /// One character of a literal or class, escapes resolved.
  char32_t character() {
    if (text_[pos_] != '\\') return next_code_point(text_, pos_);
    const std::size_t begin = pos_++;
    const char c = pos_ < text_.size() ? text_[pos_] : '\0';
    ++pos_;
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<unsigned char>(c);
      case 'x':
        return hex(2, begin);
      case 'u':
        return hex(4, begin);
      case 'U':
        return hex(8, begin);
      default:
        break;
    }
    pos_ = begin;
    fail("an escape that is not one of \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\xHH \\uHHHH \\UHHHHHHHH");
  }

  char32_t hex(int digits, std::size_t begin) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++pos_) {
      const char c = pos_ < text_.size() ? text_[pos_] : '\0';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("expected " + std::to_string(digits) + " hexadecimal digits");
      value = value * 16 + static_cast<char32_t>(digit);
      if (value > 0x10FFFF) break;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      pos_ = begin;
      fail("an escape that is no Unicode character");
    }
    return value;
  }

  std::string_view text_;
  Expressions& out_;
  std::size_t pos_ = 0;
  std::unordered_map<std::string, RuleId> rules_;
};

}  // namespace

RuleId read_gbnf(std::string_view text, Expressions& out) { return Reader(text, out).read(); }

}  // namespace qwen35::constraint
