#include "text/schema_pattern.h"

#include <memory>
#include <new>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace qwen35 {
namespace {

constexpr std::size_t kMostPatternBytes = 4096;
constexpr std::uint32_t kMatchSteps = 200'000;
constexpr std::uint32_t kDepth = 10'000;
constexpr std::uint32_t kHeapKibibytes = 8192;

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};

}  // namespace

PatternResult search_pattern(const std::string& pattern, std::string_view text) {
  if (pattern.size() > kMostPatternBytes) return PatternResult::bad_pattern;
  int error = 0;
  PCRE2_SIZE offset = 0;
  // As in ECMAScript: $ is the very end, a group that did not match is empty, \u0041 is a character.
  constexpr std::uint32_t options =
      PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALT_BSUX | PCRE2_NEVER_BACKSLASH_C;
  const std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &offset, nullptr));
  if (code == nullptr) return PatternResult::bad_pattern;
  const std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>> data(
      pcre2_match_data_create_from_pattern(code.get(), nullptr));
  const std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>> context(
      pcre2_match_context_create(nullptr));
  if (data == nullptr || context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), kMatchSteps);
  pcre2_set_depth_limit(context.get(), kDepth);
  pcre2_set_heap_limit(context.get(), kHeapKibibytes);
  const int result =
      pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(), context.get());
  if (result >= 0) return PatternResult::found;
  return result == PCRE2_ERROR_NOMATCH ? PatternResult::absent : PatternResult::gave_up;
}

}  // namespace qwen35
