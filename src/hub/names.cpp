#include "hub/names.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace qwen35::hub {
namespace {

constexpr std::size_t kMaxIdPart = 96;
constexpr std::size_t kMaxPath = 1024;
// Below the 255 bytes that file systems take, so that ".incomplete" and the like still fit.
constexpr std::size_t kMaxName = 200;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool is_id_part(std::string_view part) {
  const auto allowed = [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.'; };
  const auto at_end = [](char c) { return c != '-' && c != '.'; };
  return !part.empty() && part.size() <= kMaxIdPart && std::all_of(part.begin(), part.end(), allowed) &&
         at_end(part.front()) && at_end(part.back()) && part.find("--") == std::string_view::npos &&
         part.find("..") == std::string_view::npos;
}

bool is_control(std::string_view text, std::size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x20 || byte == 0x7F) return true;
  if (byte != 0xC2 || at + 1 == text.size()) return false;  // U+0080 to U+009F drive terminals too
  const auto next = static_cast<unsigned char>(text[at + 1]);
  return next >= 0x80 && next <= 0x9F;
}

}  // namespace

bool is_repository_id(std::string_view id) {
  const std::size_t slash = id.find('/');
  return slash != std::string_view::npos && is_id_part(id.substr(0, slash)) && is_id_part(id.substr(slash + 1));
}

std::optional<ModelName> parse_model_name(const std::string& text) {
  ModelName name;
  std::string rest = text;
  if (const std::size_t at = rest.find('@'); at != std::string::npos) {
    name.revision = rest.substr(at + 1);
    rest.resize(at);
    if (name.revision.empty()) name.revision = " ";  // "id@" is malformed, not "id"
  }
  if (const std::size_t colon = rest.find(':'); colon != std::string::npos) {
    name.variant = rest.substr(colon + 1);
    rest.resize(colon);
    if (name.variant.empty()) name.variant = " ";
  }
  if (!is_repository_id(rest)) return std::nullopt;
  name.id = rest;
  if (!name.variant.empty()) check_variant(name.variant);
  if (!name.revision.empty()) check_revision(name.revision);
  return name;
}

void check_repository_id(const std::string& id) {
  if (is_repository_id(id)) return;
  throw Error(ErrorCode::invalid_argument,
              in_quotes(id) +
                  " is not a hub id; expected org/name of letters, digits, '-', '_' and '.', for example "
                  "Qwen/Qwen3.5-0.8B");
}

void check_variant(const std::string& variant) {
  const bool plain = problem_with_path(variant).empty() && variant.find('/') == std::string::npos &&
                     variant.find_first_of(" :@") == std::string::npos;
  if (plain) return;
  throw Error(
      ErrorCode::invalid_argument,
      in_quotes(variant) + " cannot be a variant; expected the name of a folder of the repository, such as int4");
}

void check_revision(const std::string& revision) {
  const bool plain = problem_with_path(revision).empty() && revision.find_first_of(" ~^:?*[@") == std::string::npos;
  if (plain) return;
  throw Error(ErrorCode::invalid_argument,
              in_quotes(revision) + " cannot be a revision; expected a branch, a tag or a commit, such as main");
}

std::string problem_with_path(std::string_view path) {
  if (path.empty()) return "it is empty";
  if (path.size() > kMaxPath) return "it is longer than " + std::to_string(kMaxPath) + " bytes";
  if (path.front() == '/') return "it is absolute";
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (is_control(path, i)) return "it has a control character";
    if (path[i] == '\\') return "it has a backslash";
  }
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    if (name.empty()) return "it has an empty part";
    if (name == "." || name == "..") return "it leads out of its folder";
    if (name.size() > kMaxName) return "it has a name longer than " + std::to_string(kMaxName) + " bytes";
    begin = end + 1;
  }
  return {};
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_commit(std::string_view text) { return is_hex(text, 40); }

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLimit = 120;
  std::string result = "\"";
  for (std::size_t i = 0; i < std::min(text.size(), kLimit); ++i) result += is_control(text, i) ? '?' : text[i];
  return result + (text.size() > kLimit ? "...\"" : "\"");
}

std::string human_bytes(unsigned long long bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

std::string percent_encoded(std::string_view path, bool keep_slashes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string result;
  for (const char c : path) {
    if (is_letter_or_digit(c) || std::string_view("-._~").find(c) != std::string_view::npos ||
        (c == '/' && keep_slashes)) {
      result += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      result += '%';
      result += kDigits[byte >> 4U];
      result += kDigits[byte & 15U];
    }
  }
  return result;
}

}  // namespace qwen35::hub
