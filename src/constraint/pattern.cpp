#include "constraint/pattern.h"

#include <vector>

#include "text/utf8.h"

namespace qwen35::constraint {
namespace {

constexpr int group_limit = 64;
constexpr std::size_t size_limit = 4096;  // bytes

CodePoints digit_set() { return CodePoints({{'0', '9'}}); }
CodePoints word_set() { return CodePoints({{'0', '9'}, {'A', 'Z'}, {'a', 'z'}, {'_', '_'}}); }
CodePoints space_set() {
  return CodePoints({{9, 13},
                     {' ', ' '},
                     {0xA0, 0xA0},
                     {0x1680, 0x1680},
                     {0x2000, 0x200A},
                     {0x2028, 0x2029},
                     {0x202F, 0x202F},
                     {0x205F, 0x205F},
                     {0x3000, 0x3000},
                     {0xFEFF, 0xFEFF}});
}
CodePoints line_ends() { return CodePoints({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}); }

/// Recursive descent over the pattern; every character set becomes plain-form JSON.
class Reader {
 public:
  Reader(std::string_view text, const std::string& place, JsonValues& values, Expressions& out)
      : text_(text), place_(place), values_(values), out_(out) {}

  ExprId read() {
    if (text_.size() > size_limit)
      refuse(place_, "a pattern can have at most " + std::to_string(size_limit) + " bytes");
    const ExprId whole = alternatives(0);
    if (pos_ < text_.size()) fail("`)` without `(`");
    return whole;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    constexpr std::size_t shown = 80;
    const std::string_view head = text_.substr(0, shown);
    refuse(place_,
           what + " at character " + std::to_string(pos_) + " of the pattern `" + to_valid_utf8(head) +
               (text_.size() > shown ? "..." : "") +
               "`; supported are classes, groups, `|`, quantifiers, \\d \\w \\s, `.`, and `^` and `$` at the ends");
  }
  [[nodiscard]] bool at(std::string_view what) const { return text_.substr(pos_).starts_with(what); }
  [[nodiscard]] bool more() const { return pos_ < text_.size(); }

  ExprId alternatives(int depth) {
    if (depth > group_limit) fail("groups nested deeper than " + std::to_string(group_limit));
    std::vector<ExprId> options;
    do {
      if (!options.empty()) ++pos_;
      options.push_back(sequence(depth));
    } while (at("|"));
    return options.size() == 1 ? options[0] : out_.choice(std::move(options));
  }

  ExprId sequence(int depth) {
    std::vector<ExprId> parts;
    // Outside groups an end that is not anchored lets anything stand there.
    if (depth == 0 && at("^")) {
      ++pos_;
    } else if (depth == 0) {
      parts.push_back(values_.plain_content());
    }
    bool anchored = false;
    while (more() && !at("|") && !at(")")) {
      if (depth == 0 && at("$") && (pos_ + 1 == text_.size() || text_[pos_ + 1] == '|')) {
        ++pos_;
        anchored = true;
        break;
      }
      parts.push_back(quantified(atom(depth)));
    }
    if (depth == 0 && !anchored) parts.push_back(values_.plain_content());
    return out_.sequence(std::move(parts));
  }

  ExprId atom(int depth) {
    const char c = text_[pos_];
    switch (c) {
      case '(':
        return group(depth);
      case '[':
        return characters(char_class());
      case '.':
        ++pos_;
        return characters(line_ends().complement());
      case '^':
        fail("`^` elsewhere than at the beginning");
      case '$':
        fail("`$` elsewhere than at the end");
      case '*':
      case '+':
      case '?':
      case '{':
        fail("a quantifier with nothing to repeat");
      case ']':
      case '}':
        fail(std::string("a `") + c + "` that is not escaped");
      case '\\':
        return characters(escape(false));
      default:
        break;
    }
    const char32_t code_point = next_code_point(text_, pos_);
    return characters(CodePoints({{code_point, code_point}}));
  }

  ExprId characters(const CodePoints& set) {
    if (set.empty()) fail("a class without members ends");
    return values_.plain_character(set);
  }

  ExprId group(int depth) {
    const std::size_t begin = pos_++;
    if (at("?")) {
      if (!at("?:")) {
        fail(at("?=") || at("?!")     ? "a lookahead"
             : at("?<=") || at("?<!") ? "a lookbehind"
             : at("?<")               ? "a named group"
                                      : "an unknown group");
      }
      pos_ += 2;
    }
    const ExprId inner = alternatives(depth + 1);
    if (!at(")")) {
      pos_ = begin;
      fail("`(` without `)`");
    }
    ++pos_;
    return inner;
  }

  ExprId quantified(ExprId part) {
    if (!more()) return part;
    std::uint32_t min = 0;
    std::uint32_t max = unbounded;
    if (at("*")) {
    } else if (at("+")) {
      min = 1;
    } else if (at("?")) {
      max = 1;
    } else if (at("{")) {
      ++pos_;
      min = count();
      max = min;
      if (at(",")) {
        ++pos_;
        max = at("}") ? unbounded : count();
      }
      if (!at("}")) fail("`{` without `}`");
      if (min > max) fail("a quantifier whose minimum is above its maximum");
    } else {
      return part;
    }
    ++pos_;
    if (at("?")) ++pos_;  // lazy: finds the same strings
    if (at("*") || at("+") || at("?") || at("{")) fail("a quantifier behind a quantifier");
    return out_.repeat(part, min, max);
  }

  std::uint32_t count() {
    std::uint32_t value = 0;
    const std::size_t begin = pos_;
    for (; more() && text_[pos_] >= '0' && text_[pos_] <= '9'; ++pos_) {
      value = value * 10 + static_cast<std::uint32_t>(text_[pos_] - '0');
      if (value > repetition_limit) fail("more than " + std::to_string(repetition_limit) + " repetitions");
    }
    if (pos_ == begin) fail("a quantifier without a number");
    return value;
  }

  CodePoints char_class() {
    const std::size_t begin = pos_++;
    const bool negated = at("^");
    if (negated) ++pos_;
    CodePoints set;
    std::vector<CodePointRange> ranges;
    while (!at("]")) {
      if (!more()) {
        pos_ = begin;
        fail("`[` without `]`");
      }
      const CodePoints first = class_member();
      if (at("-") && !text_.substr(pos_ + 1).starts_with("]") && pos_ + 1 < text_.size()) {
        ++pos_;
        const CodePoints last = class_member();
        if (!single(first) || !single(last)) fail("a range between classes");
        if (last.ranges()[0].first < first.ranges()[0].first) fail("a range that runs backwards");
        ranges.push_back({first.ranges()[0].first, last.ranges()[0].first});
      } else {
        ranges.insert(ranges.end(), first.ranges().begin(), first.ranges().end());
      }
    }
    ++pos_;
    set = CodePoints(std::move(ranges));
    return negated ? set.complement() : set;
  }

  static bool single(const CodePoints& set) {
    return set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
  }

  CodePoints class_member() {
    if (at("\\")) return escape(true);
    const char32_t c = next_code_point(text_, pos_);
    return CodePoints({{c, c}});
  }

  CodePoints escape(bool in_class) {
    ++pos_;
    if (!more()) fail("a `\\` with nothing behind it");
    const char c = text_[pos_++];
    const auto one = [](char32_t code_point) { return CodePoints({{code_point, code_point}}); };
    switch (c) {
      case 'd':
        return digit_set();
      case 'D':
        return digit_set().complement();
      case 'w':
        return word_set();
      case 'W':
        return word_set().complement();
      case 's':
        return space_set();
      case 'S':
        return space_set().complement();
      case 'n':
        return one('\n');
      case 'r':
        return one('\r');
      case 't':
        return one('\t');
      case 'f':
        return one('\f');
      case 'v':
        return one('\v');
      case 'x':
        return one(hex(2));
      case 'u':
        return one(hex(4));
      case 'b':
        if (in_class) return one('\b');
        break;
      case '0':
        if (!more() || text_[pos_] < '0' || text_[pos_] > '9') return one(0);
        break;
      default:
        if (std::string_view("^$\\.*+?()[]{}|/-\"'#%&,:;<=>@_`~! ").find(c) != std::string_view::npos) {
          return one(static_cast<unsigned char>(c));
        }
    }
    --pos_;
    if (c >= '1' && c <= '9') fail("a back reference");
    if (c == 'b' || c == 'B') fail("a word boundary");
    if (c == 'p' || c == 'P') fail("a Unicode property");
    fail("an unknown escape");
  }

  char32_t hex(int digits) {
    const bool braces = digits == 4 && at("{");
    if (braces) ++pos_;
    char32_t value = 0;
    int seen = 0;
    for (; more() && (braces ? !at("}") : seen < digits); ++pos_, ++seen) {
      const char c = text_[pos_];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0 || seen >= 6) fail("an escape without its hexadecimal digits");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    if (seen == 0 || (!braces && seen < digits)) fail("an escape without its hexadecimal digits");
    if (braces) {
      if (!at("}")) fail("an escape without its `}`");
      ++pos_;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) fail("an escape that is no Unicode character");
    return value;
  }

  std::string_view text_;
  const std::string& place_;
  JsonValues& values_;
  Expressions& out_;
  std::size_t pos_ = 0;
};

}  // namespace

ExprId read_pattern(std::string_view pattern, const std::string& place, JsonValues& values, Expressions& out) {
  return Reader(pattern, place, values, out).read();
}

}  // namespace qwen35::constraint
