#include "text/utf8.h"

#include <simdjson.h>

namespace qwen35 {
namespace {

constexpr char32_t replacement = 0xFFFD;

struct Lead {
  std::size_t length;       ///< bytes of the sequence; 0 when no sequence begins so
  unsigned char low, high;  ///< the range of the second byte: excludes overlong forms, surrogates, > U+10FFFF
};

constexpr Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

unsigned char at(std::string_view bytes, std::size_t i) { return static_cast<unsigned char>(bytes[i]); }

}  // namespace

Utf8Step decode_utf8(std::string_view bytes) {
  using Kind = Utf8Step::Kind;
  const unsigned char first = at(bytes, 0);
  if (first < 0x80) return {first, 1, Kind::valid};
  const Lead lead = lead_of(first);
  if (lead.length == 0) return {replacement, 1, Kind::invalid};
  char32_t code_point = first & (0x7FU >> lead.length);
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {replacement, i, Kind::cut};
    const unsigned char byte = at(bytes, i);
    const bool fits = i == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0U) == 0x80;
    if (!fits) return {replacement, i, Kind::invalid};
    code_point = (code_point << 6) | (byte & 0x3FU);
  }
  return {code_point, lead.length, Kind::valid};
}

char32_t next_code_point(std::string_view well_formed, std::size_t& pos) {
  const unsigned char first = at(well_formed, pos++);
  if (first < 0x80) return first;
  const int more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  char32_t code_point = first & (0x3FU >> more);
  for (int i = 0; i < more; ++i) code_point = (code_point << 6) | (at(well_formed, pos++) & 0x3FU);
  return code_point;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

bool is_valid_utf8(std::string_view bytes) { return simdjson::validate_utf8(bytes.data(), bytes.size()); }

std::string to_valid_utf8(std::string_view bytes) {
  if (is_valid_utf8(bytes)) return std::string(bytes);
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 8);
  while (!bytes.empty()) {
    const Utf8Step step = decode_utf8(bytes);
    if (step.kind == Utf8Step::Kind::valid) {
      out.append(bytes.substr(0, step.length));
    } else {
      out.append(replacement_character);
    }
    bytes.remove_prefix(step.length);
  }
  return out;
}

}  // namespace qwen35
