#include "text/regex.h"

#include <qwen35/error.h>

#include <array>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/utf8.h"

namespace qwen35 {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Code = std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Deleter<pcre2_jit_stack_free>>;

constexpr std::size_t pattern_size_limit = 4096;
constexpr std::size_t jit_stack_start = 32U << 10;
constexpr std::size_t jit_stack_limit = 8U << 20;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

/// PCRE2's \s holds U+180E, the reference's does not: \s and \S are written out as the White_Space property.
/// (\S inside a class cannot be written so and stays.)
std::string with_reference_space(std::string_view pattern) {
  constexpr std::string_view space =
      R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        out.append(in_class ? "" : "[").append(space).append(in_class ? "" : "]");
      } else if (escaped == 'S' && !in_class) {
        out.append("[^").append(space).append("]");
      } else {
        out.append({'\\', escaped});
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out.push_back(c);
  }
  return out;
}

}  // namespace

struct Regex::Impl {
  Code code;
  std::string source;
};

Regex::Regex(const std::string& pattern, const std::string& source) : impl_(std::make_unique<Impl>()) {
  if (pattern.size() > pattern_size_limit) {
    throw Error(ErrorCode::unsupported, source + ": the split expression has " + std::to_string(pattern.size()) +
                                            " bytes; at most " + std::to_string(pattern_size_limit) + " are read");
  }
  impl_->source = source;
  const std::string translated = with_reference_space(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (impl_->code == nullptr) {
    throw Error(ErrorCode::bad_file, source + ": the split expression " + pattern + " does not compile: " +
                                         message_of(error) + " (at byte " + std::to_string(offset) + ")");
  }
  // Without the compiler (a machine that forbids writable code) PCRE2 interprets: slower, the same matches.
  (void)pcre2_jit_compile(impl_->code.get(), PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;

void Regex::split(std::string_view text, const std::function<void(std::string_view)>& visit) const {
  const MatchData match(pcre2_match_data_create_from_pattern(impl_->code.get(), nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  const JitStack stack(pcre2_jit_stack_create(jit_stack_start, jit_stack_limit, nullptr));
  if (match == nullptr || context == nullptr || stack == nullptr) throw std::bad_alloc();
  pcre2_jit_stack_assign(context.get(), nullptr, stack.get());

  std::size_t word = 0;  // where the text not yet handed out begins
  std::size_t from = 0;  // where the search goes on
  while (from <= text.size()) {
    const int rc = pcre2_match(impl_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                               PCRE2_NO_UTF_CHECK, match.get(), context.get());
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      throw Error(ErrorCode::unsupported, impl_->source + ": the split expression gave up on a text of " +
                                              std::to_string(text.size()) + " bytes: " + message_of(rc));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
    const std::size_t begin = range[0];
    const std::size_t end = range[1];
    if (end <= begin || begin < from) {  // empty, or moved by \K: search on one character further
      if (from == text.size()) break;
      from = begin > from ? begin : from;
      if (from == text.size()) break;
      next_code_point(text, from);
      continue;
    }
    if (begin > word) visit(text.substr(word, begin - word));
    visit(text.substr(begin, end - begin));
    word = from = end;
  }
  if (word < text.size()) visit(text.substr(word));
}

}  // namespace qwen35
