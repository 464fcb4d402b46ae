#include "text/tool_calls.h"

#include <qwen35/error.h>

#include <algorithm>
#include <optional>

#include "text/chat_template.h"
#include "text/python_json.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

const Json* member(const Json& value, const char* key) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(key);
  return found == value.end() ? nullptr : &*found;
}

/// The schema of one parameter, or null. Definitions come with or without the {"type": "function"} around them.
const Json* parameter_schema(const Json& tools, std::string_view function, const std::string& parameter) {
  if (!tools.is_array()) return nullptr;
  for (const Json& tool : tools) {
    const Json* inner = member(tool, "function");
    const Json& definition = inner != nullptr ? *inner : tool;
    const Json* name = member(definition, "name");
    if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>() != function) continue;
    const Json* parameters = member(definition, "parameters");
    const Json* properties = parameters != nullptr ? member(*parameters, "properties") : nullptr;
    return properties != nullptr ? member(*properties, parameter.c_str()) : nullptr;
  }
  return nullptr;
}

/// Whether a schema names `type`: in "type", alone or in a list, or in one of its "anyOf"/"oneOf" alternatives.
bool allows(const Json& schema, std::string_view type, bool look_inside = true) {
  const auto is_type = [&](const Json& name) { return name.is_string() && name.get_ref<const std::string&>() == type; };
  if (const Json* stated = member(schema, "type")) {
    if (is_type(*stated)) return true;
    if (stated->is_array() && std::any_of(stated->begin(), stated->end(), is_type)) return true;
  }
  if (!look_inside) return false;
  for (const char* key : {"anyOf", "oneOf"}) {
    const Json* choices = member(schema, key);
    if (choices == nullptr || !choices->is_array()) continue;
    for (const Json& choice : *choices) {
      if (allows(choice, type, false)) return true;
    }
  }
  return false;
}

bool is_whole(const Json& value) {
  if (value.is_number_float())
    return value.get<double>() ==
           static_cast<double>(static_cast<long long>(std::clamp(value.get<double>(), -9e15, 9e15)));
  return value.is_number() || value.is_binary();  // binary: an integer beyond 64 bits
}

bool fits(const Json& value, const Json& schema) {
  if (value.is_object()) return allows(schema, "object");
  if (value.is_array()) return allows(schema, "array");
  if (value.is_boolean()) return allows(schema, "boolean");
  if (value.is_null()) return allows(schema, "null");
  if (value.is_string()) return false;  // a quoted string where another type is due: left as it was written
  return allows(schema, "number") || (allows(schema, "integer") && is_whole(value));
}

/// The value as its schema types it. The template writes True, False and None as Python does, so those are read too.
Json typed(const std::string& text, const Json* schema) {
  if (schema == nullptr || allows(*schema, "string")) return text;
  const std::string_view word = strip(text);
  Json value;
  if (word == "True" || word == "False") {
    value = word == "True";
  } else if (word != "None") {
    try {
      value = parse_json(word, "value");
    } catch (const Error&) {
      return text;
    }
  }
  return fits(value, *schema) ? value : Json(text);
}

/// Reads one `<tool_call>`; the position is behind what was understood.
class CallReader {
 public:
  CallReader(std::string_view text, std::size_t pos, const Json& tools) : text_(text), pos_(pos), tools_(tools) {}

  enum class Outcome { complete, malformed, truncated };

  /// From behind "<tool_call>" to behind "</tool_call>". A call whose function is closed counts even if the answer
  /// ends there.
  Outcome read(std::vector<ToolCall>& calls) {
    do {
      const Outcome outcome = read_function(calls);
      if (outcome != Outcome::complete) return outcome;
      skip_space();
    } while (text_.substr(pos_).starts_with("<function="));
    take("</tool_call>");
    return Outcome::complete;
  }

  std::size_t position() const { return pos_; }

 private:
  void skip_space() { pos_ = text_.size() - strip_left(text_.substr(pos_)).size(); }

  bool take(std::string_view word) {
    if (!text_.substr(pos_).starts_with(word)) return false;
    pos_ += word.size();
    return true;
  }

  /// What a missing word means: the answer may just end before or inside it.
  Outcome missing(std::string_view word) const {
    return word.starts_with(text_.substr(pos_)) ? Outcome::truncated : Outcome::malformed;
  }

  /// The text up to `>` on the same line.
  Outcome read_name(std::string& name) {
    const std::size_t end = text_.find_first_of(">\n", pos_);
    if (end == std::string_view::npos) return Outcome::truncated;
    name = strip(text_.substr(pos_, end - pos_));
    if (text_[end] != '>' || name.empty()) return Outcome::malformed;
    pos_ = end + 1;
    return Outcome::complete;
  }

  Outcome read_function(std::vector<ToolCall>& calls) {
    skip_space();
    if (!take("<function=")) return missing("<function=");
    std::string function;
    if (const Outcome outcome = read_name(function); outcome != Outcome::complete) return outcome;
    Json arguments = Json::object();
    while (true) {
      skip_space();
      if (take("</function>")) break;
      if (text_.substr(pos_).starts_with("</tool_call>")) break;  // the function's own end was forgotten
      if (!take("<parameter=")) {
        const bool cut = missing("</function>") == Outcome::truncated || missing("<parameter=") == Outcome::truncated;
        return cut ? Outcome::truncated : Outcome::malformed;
      }
      std::string key;
      if (const Outcome outcome = read_name(key); outcome != Outcome::complete) return outcome;
      const auto value = read_value();
      if (!value) return Outcome::truncated;
      arguments[key] = typed(*value, parameter_schema(tools_, function, key));
    }
    calls.push_back({function, python_json(arguments)});
    return Outcome::complete;
  }

  /// Up to the first `</parameter>` that another parameter or the end of the function follows: a value may hold the
  /// word itself. One line end belongs to the markup on either side.
  std::optional<std::string> read_value() {
    constexpr std::string_view end_mark = "</parameter>";
    const std::size_t begin = pos_;
    std::size_t end = text_.find(end_mark, begin);
    if (end == std::string_view::npos) return std::nullopt;
    int tries = 64;  // keeps the whole parse linear
    for (std::size_t at = end; at != std::string_view::npos && tries-- > 0; at = text_.find(end_mark, at + 1)) {
      const std::string_view rest = strip_left(text_.substr(at + end_mark.size()));
      if (rest.starts_with("<parameter=") || rest.starts_with("</function>") || rest.starts_with("</tool_call>")) {
        end = at;
        break;
      }
    }
    pos_ = end + end_mark.size();
    std::string_view value = text_.substr(begin, end - begin);
    if (value.starts_with('\n')) value.remove_prefix(1);
    if (value.ends_with('\n')) value.remove_suffix(1);
    return std::string(value);
  }

  std::string_view text_;
  std::size_t pos_;
  const Json& tools_;
};

}  // namespace

ParsedAnswer parse_tool_calls(std::string_view answer, const Json& tools) {
  constexpr std::string_view begin_mark = "<tool_call>";
  constexpr std::string_view end_mark = "</tool_call>";
  const std::string valid = to_valid_utf8(answer);
  const std::string_view text = valid;
  const std::size_t last_end = text.rfind(end_mark);
  ParsedAnswer parsed;
  std::size_t pos = 0;
  while (true) {
    const std::size_t mark = text.find(begin_mark, pos);
    parsed.text.append(text.substr(pos, mark == std::string_view::npos ? mark : mark - pos));
    if (mark == std::string_view::npos) break;
    std::vector<ToolCall> calls;
    CallReader reader(text, mark + begin_mark.size(), tools);
    const CallReader::Outcome outcome = reader.read(calls);
    if (outcome == CallReader::Outcome::malformed) {
      // Not the form: shown as it was written.
      const bool closed = last_end != std::string_view::npos && last_end > mark;
      pos = closed ? text.find(end_mark, mark) + end_mark.size() : mark + begin_mark.size();
      parsed.text.append(text.substr(mark, pos - mark));
      continue;
    }
    for (ToolCall& call : calls) parsed.tool_calls.push_back(std::move(call));
    if (outcome == CallReader::Outcome::truncated) {
      parsed.truncated = true;
      break;
    }
    pos = reader.position();
  }
  parsed.text = strip_right(parsed.text);
  return parsed;
}

}  // namespace qwen35
