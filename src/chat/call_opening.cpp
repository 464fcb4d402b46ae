#include "chat/call_opening.h"

#include <qwen35/error.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "chat/answer_text.h"
#include "text/tool_calls.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kCall = "<tool_call>";
constexpr std::string_view kFunction = "\n<function";  // and "=name": tokens are cut between these two
constexpr std::string_view kParameter = "<parameter";
constexpr std::string_view kFunctionEnd = "</function";

[[noreturn]] void refuse(const std::string& problem) { throw Error(ErrorCode::invalid_argument, problem); }

std::string quoted(const std::string& name) { return "\"" + name.substr(0, 80) + "\""; }

/// A call's name ends at the first `>`, stands on one line, and white space around it does not count.
void check_name(const std::string& name) {
  if (!name.empty() && name == trimmed(name) && name.find_first_of(">\n") == std::string::npos) return;
  refuse("tool_choice asks for a call and a tool has the name " + quoted(name) +
         ", which no call can be written with; give it a name of letters, digits, '_', '-' and '.'");
}

/// Whether a call of this tool needs an argument, by its schema.
bool needs_argument(const Json& tools, const std::string& name) {
  const Json* tool = find_tool(tools, name);
  if (tool == nullptr || !tool->is_object() || !tool->contains("parameters")) return false;
  const Json& parameters = (*tool)["parameters"];
  if (!parameters.is_object() || !parameters.contains("required")) return false;
  return parameters["required"].is_array() && !parameters["required"].empty();
}

/// A literal of a grammar in GBNF.
std::string literal(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || c == '"' || c == '\\') {
      out += "\\x";
      out += kDigits[byte >> 4U];
      out += kDigits[byte & 15U];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

/// What comes behind the name's line.
std::string behind_name(const Json& tools, const std::string& name) {
  if (needs_argument(tools, name)) return literal(kParameter);
  return "(" + literal(kParameter) + " | " + literal(kFunctionEnd) + ")";
}

std::vector<TokenId> encode(const std::string& plain, const Tokenizer& tokenizer) {
  PromptText text;
  text.append_control(kCall);
  text.append_plain(plain);
  std::vector<TokenId> tokens = tokenizer.encode(text);
  // The tokenizer composes characters: a name that it changes would be another one.
  if (tokenizer.decode(tokens) != std::string(kCall) + plain) {
    refuse(
        "tool_choice names a tool whose name this vocabulary cannot spell; give it a name of letters, digits, '_', "
        "'-' and '.'");
  }
  return tokens;
}

CallOpening opening_of(const std::string& name, const Json& tools, const Tokenizer& tokenizer, Grammars& grammars) {
  std::string text = std::string(kFunction) + "=" + name + ">\n";
  if (needs_argument(tools, name)) return {encode(text + std::string(kParameter), tokenizer), std::nullopt};
  return {encode(text, tokenizer), grammars.follow("root ::= " + behind_name(tools, name), tokenizer)};
}

}  // namespace

std::optional<CallOpening> call_opening(const GenerateOptions& options, const Json& tools, const Tokenizer& tokenizer,
                                        Grammars& grammars) {
  const ToolChoice& choice = options.tool_choice;
  if (choice.kind == ToolChoice::Kind::automatic || choice.kind == ToolChoice::Kind::none) return std::nullopt;
  if (!options.json_schema.empty() || options.json_object || !options.grammar.empty()) {
    refuse("tool_choice asks for a call, and json_schema, json_object or grammar for an answer of a form; ask for one");
  }
  const std::vector<std::string> names = tool_names(tools);
  if (names.empty()) refuse("tool_choice asks for a call but there are no tools; give some, or let it be automatic");
  if (choice.kind == ToolChoice::Kind::function) {
    if (std::find(names.begin(), names.end(), choice.name) == names.end()) {
      std::string known;
      for (const std::string& name : names) {
        if (known.size() > 400) {
          known += ", ...";
          break;
        }
        known += (known.empty() ? "" : ", ") + quoted(name);
      }
      refuse("tool_choice names the function " + quoted(choice.name) + "; expected one of: " + known);
    }
    check_name(choice.name);
    return opening_of(choice.name, tools, tokenizer, grammars);
  }
  if (names.size() == 1) {
    check_name(names.front());
    return opening_of(names.front(), tools, tokenizer, grammars);
  }
  std::string grammar;
  for (const std::string& name : names) {
    check_name(name);
    grammar += (grammar.empty() ? "root ::= " : " | ") + literal("=" + name + ">\n") + " " + behind_name(tools, name);
  }
  return CallOpening{encode(std::string(kFunction), tokenizer), grammars.follow(grammar, tokenizer)};
}

}  // namespace qwen35
