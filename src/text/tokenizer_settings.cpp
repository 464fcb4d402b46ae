#include "text/tokenizer_settings.h"

#include <qwen35/error.h>

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "text/chat_template.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

/// Reads one part of the file and says in every refusal where it was.
class Part {
 public:
  Part(const Json& json, std::string path, const std::string& source)
      : json_(json), path_(std::move(path)), source_(source) {
    if (!json_.is_object()) refuse_value("", json_, "an object");
  }

  std::string type() const {
    const auto found = json_.find("type");
    if (found == json_.end() || !found->is_string())
      refuse_value(".type", found == json_.end() ? Json() : *found, "a name");
    return found->get<std::string>();
  }

  /// The member must be absent or one of `allowed`.
  void expect(const char* key, std::initializer_list<Json> allowed) const {
    const auto found = json_.find(key);
    if (found == json_.end() || std::find(allowed.begin(), allowed.end(), *found) != allowed.end()) return;
    refuse_value(std::string(".") + key, *found, allowed.begin()->dump());
  }

  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) refuse_value(std::string(".") + key, Json(), "a value");
    return *found;
  }

  std::vector<Part> list(const char* key) const {
    const Json& items = at(key);
    if (!items.is_array()) refuse_value(std::string(".") + key, items, "an array");
    std::vector<Part> parts;
    for (std::size_t i = 0; i < items.size(); ++i) {
      parts.emplace_back(items[i], path_ + "." + key + "[" + std::to_string(i) + "]", source_);
    }
    return parts;
  }

  [[noreturn]] void refuse_value(const std::string& where, const Json& found, const std::string& expected) const {
    constexpr std::size_t longest = 120;
    std::string text = found.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > longest) text = text.substr(0, longest) + "...";
    throw Error(ErrorCode::unsupported, source_ + ": " + path_ + where + " is " + text + "; this engine knows " +
                                            expected + ", as Qwen's tokenizers have it");
  }

 private:
  const Json& json_;
  std::string path_;
  const std::string& source_;
};

bool reads_nfc(const Part& part) {
  const std::string type = part.type();
  if (type == "NFC") return true;
  if (type != "Sequence") part.refuse_value(".type", type, "\"NFC\" or a \"Sequence\" of it");
  bool nfc = false;
  for (const Part& item : part.list("normalizers")) {
    if (item.type() != "NFC") item.refuse_value(".type", item.type(), "\"NFC\"");
    nfc = true;
  }
  return nfc;
}

void expect_byte_level(const Part& part) {
  if (part.type() != "ByteLevel") part.refuse_value(".type", part.type(), "\"ByteLevel\"");
}

std::string read_pre_tokenizer(const Part& part) {
  if (part.type() != "Sequence") part.refuse_value(".type", part.type(), "a \"Sequence\" of Split and ByteLevel");
  const std::vector<Part> steps = part.list("pretokenizers");
  if (steps.size() != 2)
    part.refuse_value(".pretokenizers", part.at("pretokenizers"), "two steps: Split and ByteLevel");
  const Part& split = steps[0];
  if (split.type() != "Split") split.refuse_value(".type", split.type(), "\"Split\"");
  split.expect("behavior", {"Isolated"});
  split.expect("invert", {false});
  const Json& pattern = split.at("pattern");
  const auto regex = pattern.is_object() ? pattern.find("Regex") : pattern.end();
  if (!pattern.is_object() || regex == pattern.end() || !regex->is_string()) {
    split.refuse_value(".pattern", pattern, "{\"Regex\": \"...\"}");
  }
  const Part& bytes = steps[1];
  expect_byte_level(bytes);
  bytes.expect("add_prefix_space", {false});
  bytes.expect("use_regex", {false});
  // ByteLevel does both unless it is told not to.
  (void)bytes.at("add_prefix_space");
  (void)bytes.at("use_regex");
  return regex->get<std::string>();
}

}  // namespace

void TokenizerSettings::set_part(std::string_view name, std::string_view json, const std::string& source) {
  Json value;
  try {
    value = parse_json(json, name);
  } catch (const Error& e) {
    throw Error(ErrorCode::bad_file, source + ": " + e.what());
  }
  const Part part(value, std::string(name), source);
  if (name == "normalizer") {
    nfc = reads_nfc(part);
  } else if (name == "pre_tokenizer") {
    split_regex = read_pre_tokenizer(part);
    if (split_regex.empty()) part.refuse_value(".pretokenizers[0].pattern", "", "an expression");
  } else {
    expect_byte_level(part);  // as post-processor it only moves offsets, which nobody asks for here
  }
}

void TokenizerSettings::set_model(std::string_view name, std::string_view json_token, const std::string& source) const {
  Json model;
  try {
    model = {{name, parse_json(json_token, name)}};
  } catch (const Error& e) {
    throw Error(ErrorCode::bad_file, source + ": model." + e.what());
  }
  const Part part(model, "model", source);
  part.expect("type", {"BPE"});
  part.expect("dropout", {nullptr, 0.0});
  part.expect("continuing_subword_prefix", {"", nullptr});
  part.expect("end_of_word_suffix", {"", nullptr});
  part.expect("byte_fallback", {false});
  part.expect("ignore_merges", {false});
  // unk_token and fuse_unk say what becomes of bytes without a token: there are none.
}

void TokenizerSettings::check(const std::string& source) const {
  if (split_regex.empty()) {
    throw Error(ErrorCode::unsupported,
                source + ": there is no pre_tokenizer; this engine knows a Sequence of Split and ByteLevel");
  }
}

}  // namespace qwen35
