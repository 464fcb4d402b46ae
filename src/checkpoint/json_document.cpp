#include "checkpoint/json_document.h"

#include <qwen35/error.h>

#include <span>

#include "base/mapped_file.h"

namespace qwen35 {

JsonDocument::JsonDocument(std::string_view text, std::string_view source) {
  simdjson::dom::element element;
  if (const auto error = parser_.parse(text.data(), text.size()).get(element)) {
    throw Error(ErrorCode::bad_file, std::string(source) + ": not valid JSON: " + simdjson::error_message(error));
  }
  if (element.get(root_)) {
    throw Error(ErrorCode::bad_file, std::string(source) + ": expected a JSON object at the top level");
  }
}

std::string read_text_file(const std::filesystem::path& path, std::size_t limit) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() > limit) {
    throw Error(ErrorCode::bad_file, path.string() + " has " + std::to_string(bytes.size()) + " bytes, more than the " +
                                         std::to_string(limit) + " such a file may have");
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string quote(std::string_view text) {
  constexpr std::size_t longest = 120;
  std::string out = "\"";
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  if (text.size() > longest) out += "...";
  return out + "\"";
}

}  // namespace qwen35
