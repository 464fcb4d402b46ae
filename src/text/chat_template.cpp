#include "text/chat_template.h"

#include <qwen35/error.h>

#include <algorithm>

#include "text/python_json.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view tools_head = "# Tools\n\nYou have access to the following functions:\n\n<tools>";
constexpr std::string_view tools_tail =
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n"
    "</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow the specified "
    "format: an inner <function=...></function> block must be nested within <tool_call></tool_call> XML tags\n"
    "- Required parameters MUST be specified\n- You may provide optional reasoning for your function call in natural "
    "language BEFORE the function call, but NOT after\n- If there is no function call available, answer the question "
    "like normal with your current knowledge and do not tell the user about function calls\n</IMPORTANT>";

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

[[noreturn]] void refuse_type(const std::string& what, const Json& found, std::string_view expected) {
  refuse(what + " is " + found.type_name() + "; expected " + std::string(expected));
}

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string_view text_of(const Json& value) { return value.get_ref<const std::string&>(); }

bool has_text(const Json& object, const char* key, std::string_view text) {
  const Json* value = member(object, key);
  return value != nullptr && value->is_string() && text_of(*value) == text;
}

/// A part of some rendered content, as offsets, so that trimming and splitting keep its control ranges.
struct Slice {
  const PromptText* source;
  std::size_t begin;
  std::size_t end;

  std::string_view view() const { return std::string_view(source->text).substr(begin, end - begin); }
  /// The slice of `part`, which is a view into this one.
  Slice of(std::string_view part) const {
    const auto offset = static_cast<std::size_t>(part.data() - source->text.data());
    return {source, offset, offset + part.size()};
  }
};

std::string_view without_newlines_left(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view without_newlines_right(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

/// One rendering: the template's statements in their order, since that decides which of several errors is raised.
class Renderer {
 public:
  Renderer(const Json& messages, const Json& tools, const TemplateOptions& options)
      : messages_(messages), tools_(tools), options_(options) {}

  ChatText render(std::size_t first_message) {
    check_shapes(first_message);
    render_head();
    last_query_ = find_last_query();
    std::vector<std::size_t> begins;
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      begins.push_back(out_.text.size());
      render_message(i);
    }
    begins.push_back(out_.text.size());
    if (options_.add_generation_prompt) {
      out_.append_control("<|im_start|>assistant\n");
      out_.append_control(options_.enable_thinking ? "<think>\n" : "<think>\n\n</think>\n\n");
    }
    return {std::move(out_), std::move(begins)};
  }

 private:
  std::string name(std::size_t index, std::string_view field = {}) const {
    return "messages[" + std::to_string(index) + "]" + std::string(field);
  }

  /// What Python would stumble over with a traceback: said plainly, before anything is rendered.
  void check_shapes(std::size_t first_message) const {
    if (!messages_.is_array() && !messages_.is_null()) refuse_type("messages", messages_, "an array of objects");
    if (messages_.empty()) refuse("No messages provided.");
    if (first_message > messages_.size()) {
      refuse("first_message is " + std::to_string(first_message) + " but there are only " +
             std::to_string(messages_.size()) + " messages");
    }
    if (!tools_.is_array() && !tools_.is_null()) refuse_type("tools", tools_, "an array of function definitions");
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (!messages_[i].is_object()) refuse_type(name(i), messages_[i], "an object with a role and content");
      const Json* role = member(messages_[i], "role");
      if (role != nullptr && !role->is_string()) refuse_type(name(i, ".role"), *role, "a string");
    }
  }

  bool has_role(std::size_t index, std::string_view role) const { return has_text(messages_[index], "role", role); }

  void render_head() {
    const bool has_system = has_role(0, "system");
    const bool has_tools = !tools_.empty();
    if (!has_tools && !has_system) return;
    out_.append_control("<|im_start|>system\n");
    if (has_tools) {
      out_.append_control(tools_head);
      for (const Json& tool : tools_) {
        out_.append_control("\n");
        append_text(python_json(tool));
      }
      out_.append_control(tools_tail);
    }
    if (has_system) {
      PromptText content;
      const Slice trimmed = render_content(0, content, false, true);
      if (has_tools && !trimmed.view().empty()) out_.append_control("\n\n");
      append(trimmed);
    }
    out_.append_control("<|im_end|>\n");
  }

  /// The last message of a user that is not a tool's answer in disguise: thinking is kept only after it.
  std::size_t find_last_query() {
    for (std::size_t i = messages_.size(); i-- > 0;) {
      if (!has_role(i, "user")) continue;
      PromptText content;
      const std::string_view text = render_content(i, content, false, false).view();
      if (!(text.starts_with("<tool_response>") && text.ends_with("</tool_response>"))) return i;
    }
    refuse("No user query found in messages.");
  }

  void render_message(std::size_t i) {
    PromptText source;
    const Slice content = render_content(i, source, true, false);
    if (has_role(i, "system")) {
      if (i > 0) refuse("System message must be at the beginning.");
    } else if (has_role(i, "user")) {
      out_.append_control("<|im_start|>user\n");
      append(content);
      out_.append_control("<|im_end|>\n");
    } else if (has_role(i, "assistant")) {
      render_assistant(i, content);
    } else if (has_role(i, "tool")) {
      render_tool_answer(i, content);
    } else {
      refuse("Unexpected message role.");
    }
  }

  void render_assistant(std::size_t i, Slice content) {
    PromptText given;
    Slice reasoning{&given, 0, 0};
    const Json* field = member(messages_[i], "reasoning_content");
    if (field != nullptr && field->is_string()) {
      given.append_plain(to_valid_utf8(text_of(*field)));
      reasoning.end = given.text.size();
    } else if (field != nullptr && !field->is_null()) {
      refuse_type(name(i, ".reasoning_content"), *field, "a string");
    } else if (const std::string_view text = content.view(); text.find("</think>") != std::string_view::npos) {
      std::string_view thought = without_newlines_right(text.substr(0, text.find("</think>")));
      if (const std::size_t open = thought.rfind("<think>"); open != std::string_view::npos)
        thought.remove_prefix(open + 7);
      reasoning = content.of(without_newlines_left(thought));
      content = content.of(without_newlines_left(text.substr(text.rfind("</think>") + 8)));
    }
    out_.append_control("<|im_start|>assistant\n");
    if (i > last_query_) {
      out_.append_control("<think>\n");
      append(reasoning.of(strip(reasoning.view())));
      out_.append_control("\n</think>\n\n");
    }
    append(content);
    render_calls(i, !strip(content.view()).empty());
    out_.append_control("<|im_end|>\n");
  }

  void render_calls(std::size_t i, bool after_text) {
    const Json* calls = member(messages_[i], "tool_calls");
    if (calls == nullptr || calls->is_null()) return;
    if (!calls->is_array()) refuse_type(name(i, ".tool_calls"), *calls, "an array");
    for (std::size_t k = 0; k < calls->size(); ++k) {
      const std::string what = name(i, ".tool_calls[" + std::to_string(k) + "]");
      const Json* call = &(*calls)[k];
      if (!call->is_object()) refuse_type(what, *call, "an object");
      if (const Json* function = member(*call, "function")) call = function;
      if (!call->is_object()) refuse_type(what + ".function", *call, "an object with name and arguments");
      const Json* function_name = member(*call, "name");
      if (function_name == nullptr || !function_name->is_string()) refuse(what + " has no name; expected a string");
      out_.append_control(k > 0 ? "\n" : after_text ? "\n\n" : "");
      out_.append_control("<tool_call>\n<function=");
      append_text(text_of(*function_name));
      out_.append_control(">\n");
      if (const Json* arguments = member(*call, "arguments")) render_arguments(*arguments, what + ".arguments");
      out_.append_control("</function>\n</tool_call>");
    }
  }

  /// An object, or as the OpenAI API sends it, an object as JSON text.
  void render_arguments(const Json& arguments, const std::string& what) {
    if (arguments.is_string() && !strip(to_valid_utf8(text_of(arguments))).empty()) {
      const Json parsed = parse_json(text_of(arguments), what);
      if (!parsed.is_object()) refuse_type(what, parsed, "a JSON object");
      render_arguments(parsed, what);
      return;
    }
    if (arguments.is_null() || arguments.is_string()) return;
    if (!arguments.is_object()) refuse_type(what, arguments, "an object");
    for (const auto& [key, value] : arguments.get_ref<const Json::object_t&>()) {
      out_.append_control("<parameter=");
      append_text(key);
      out_.append_control(">\n");
      append_text(python_str(value));
      out_.append_control("\n</parameter>\n");
    }
  }

  void render_tool_answer(std::size_t i, Slice content) {
    if (i > 0 && !has_role(i - 1, "tool")) out_.append_control("<|im_start|>user");
    out_.append_control("\n<tool_response>\n");
    append(content);
    out_.append_control("\n</tool_response>");
    if (i + 1 == messages_.size() || !has_role(i + 1, "tool")) out_.append_control("<|im_end|>\n");
  }

  /// The template's macro of this name, trimmed. `into` holds what the slice refers to.
  Slice render_content(std::size_t index, PromptText& into, bool count, bool is_system) {
    const Json* content = member(messages_[index], "content");
    if (content != nullptr && content->is_string()) {
      into.append_plain(to_valid_utf8(text_of(*content)));
    } else if (content != nullptr && content->is_array()) {
      for (std::size_t k = 0; k < content->size(); ++k) {
        const Json& item = (*content)[k];
        const std::string what = name(index, ".content[" + std::to_string(k) + "]");
        if (!item.is_object()) refuse_type(what, item, "an object with text");
        render_item(item, what, into, count, is_system);
      }
    } else if (content != nullptr && !content->is_null()) {
      refuse("Unexpected content type.");
    }
    const Slice whole{&into, 0, into.text.size()};
    return whole.of(strip(whole.view()));
  }

  void render_item(const Json& item, const std::string& what, PromptText& into, bool count, bool is_system) {
    if (item.contains("image") || item.contains("image_url") || has_text(item, "type", "image")) {
      if (is_system) refuse("System message cannot contain images.");
      if (count) ++images_;
      if (options_.add_vision_id) into.append_control("Picture " + std::to_string(images_) + ": ");
      into.append_control("<|vision_start|><|image_pad|><|vision_end|>");
    } else if (item.contains("video") || has_text(item, "type", "video")) {
      if (is_system) refuse("System message cannot contain videos.");
      if (count) ++videos_;
      if (options_.add_vision_id) into.append_control("Video " + std::to_string(videos_) + ": ");
      into.append_control("<|vision_start|><|video_pad|><|vision_end|>");
    } else if (const Json* text = member(item, "text")) {
      if (!text->is_string()) refuse_type(what + ".text", *text, "a string");
      into.append_plain(to_valid_utf8(text_of(*text)));
    } else {
      refuse("Unexpected item type in content.");
    }
  }

  void append(const Slice& slice) { out_.append_part(*slice.source, slice.begin, slice.end); }
  void append_text(std::string_view text) { out_.append_plain(to_valid_utf8(text)); }

  const Json& messages_;
  const Json& tools_;
  const TemplateOptions& options_;
  PromptText out_;
  std::size_t last_query_ = 0;
  std::size_t images_ = 0;
  std::size_t videos_ = 0;
};

}  // namespace

PromptText render_chat(const Json& messages, const Json& tools, const TemplateOptions& options,
                       std::size_t first_message) {
  ChatText chat = Renderer(messages, tools, options).render(first_message);
  if (first_message == 0) return std::move(chat.text);
  PromptText rest;
  rest.append_part(chat.text, chat.message_begin[first_message], chat.text.text.size());
  return rest;
}

ChatText render_chat_parts(const Json& messages, const Json& tools, const TemplateOptions& options) {
  return Renderer(messages, tools, options).render(0);
}

Json to_json(std::span<const Message> messages) {
  Json list = Json::array();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    Json item = {{"role", message.role}, {"content", message.content}};
    if (!message.thinking.empty()) item["reasoning_content"] = message.thinking;
    for (std::size_t k = 0; k < message.tool_calls.size(); ++k) {
      const ToolCall& call = message.tool_calls[k];
      const std::string what = "messages[" + std::to_string(i) + "].tool_calls[" + std::to_string(k) + "].arguments";
      Json arguments = parse_json(call.arguments, what);
      if (!arguments.is_object()) refuse_type(what, arguments, "a JSON object");
      item["tool_calls"].push_back(
          {{"type", "function"}, {"function", {{"name", call.name}, {"arguments", std::move(arguments)}}}});
    }
    list.push_back(std::move(item));
  }
  return list;
}

}  // namespace qwen35
