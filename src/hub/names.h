#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace qwen35::hub {

/// A model as people name it: `org/name[:variant][@revision]`.
struct ModelName {
  std::string id;
  std::string variant;   ///< "": not said
  std::string revision;  ///< "": not said
};

/// nullopt: not of that form, so a folder or a bundled name. Throws invalid_argument when variant or revision are
/// there but malformed.
std::optional<ModelName> parse_model_name(const std::string& text);

/// Whether it is `org/name` as check_repository_id() wants it.
bool is_repository_id(std::string_view id);
/// Throws invalid_argument unless `id` is `org/name` as the hub allows it: letters, digits, '-', '_' and '.', neither
/// "--" nor ".." inside, no '-' or '.' at an end, at most 96 bytes each.
void check_repository_id(const std::string& id);
/// Throws invalid_argument unless `variant` is one name of a folder.
void check_variant(const std::string& variant);
/// Throws invalid_argument unless `revision` can be a branch, tag or commit and a path below refs/.
void check_revision(const std::string& revision);

/// What is wrong with `path` as a file's place inside a folder of ours: "" for a relative path of at most 1024 bytes
/// with names of at most 200, none of them empty, "." or "..", without backslashes and control characters.
std::string problem_with_path(std::string_view path);

/// 40 lower-case hexadecimal digits.
bool is_commit(std::string_view text);
/// `digits` lower-case hexadecimal digits.
bool is_hex(std::string_view text, std::size_t digits);

/// For error messages: control characters as '?', cut at 120 bytes, in quotes.
std::string in_quotes(std::string_view text);

/// Bytes for people: "417.3 MB".
std::string human_bytes(unsigned long long bytes);

/// `path` with every byte but letters, digits, "-._~" and (with `keep_slashes`) '/' written as %XX.
std::string percent_encoded(std::string_view path, bool keep_slashes);

}  // namespace qwen35::hub
