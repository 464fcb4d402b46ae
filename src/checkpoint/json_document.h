#pragma once

#include <simdjson.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace qwen35 {

/// A parsed JSON text that must hold an object. Elements handed out live as long as the document.
class JsonDocument {
 public:
  /// Throws bad_file naming `source` for malformed text, nesting deeper than 1024, or another root than an object.
  JsonDocument(std::string_view text, std::string_view source);
  [[nodiscard]] simdjson::dom::object root() const { return root_; }

 private:
  simdjson::dom::parser parser_;
  simdjson::dom::object root_;
};

/// A whole text file of at most `limit` bytes. Throws not_found or bad_file.
std::string read_text_file(const std::filesystem::path& path, std::size_t limit);

/// Text from a file made fit for an error message: control characters replaced, cut at 120 bytes, quoted.
std::string quote(std::string_view text);

}  // namespace qwen35
