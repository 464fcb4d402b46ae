#include "text/chat_template.h"

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <string>

#include "text_data.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

const Json& cases() {
  static const Json list = parse_json(test::read_file(test::data_path("template_cases.json")), "template_cases.json");
  return list;
}

struct Case {
  std::string name;
  Json messages;
  Json tools;
  TemplateOptions options;
  Json text;
  Json error;
};

std::vector<Case> read_cases() {
  std::vector<Case> out;
  for (const Json& item : cases()) {
    const Json& given = item["options"];
    TemplateOptions options;
    options.add_generation_prompt = given.value("add_generation_prompt", false);
    options.enable_thinking = given.value("enable_thinking", false);
    out.push_back({item["name"], item["messages"], given.value("tools", Json()), options, item.value("text", Json()),
                   item.value("error", Json())});
  }
  return out;
}

std::string error_of(const Json& messages, const Json& tools = nullptr, std::size_t first_message = 0) {
  try {
    render_chat(messages, tools, {}, first_message);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    return e.what();
  }
  return "no error";
}

std::string render(const Json& messages, const Json& tools = nullptr, TemplateOptions options = {}) {
  return render_chat(messages, tools, options).text;
}

/// The text with what lies inside control ranges in braces.
std::string marked(const PromptText& prompt) {
  std::string out;
  std::size_t pos = 0;
  for (const auto& range : prompt.control) {
    out += prompt.text.substr(pos, range.begin - pos) + "{" + prompt.text.substr(range.begin, range.end - range.begin) +
           "}";
    pos = range.end;
  }
  return out + prompt.text.substr(pos);
}

TEST(ChatTemplate, EveryCaseEqualsTheOriginalTemplate) {
  const auto all = read_cases();
  EXPECT_EQ(all.size(), 83U);
  int errors = 0;
  for (const Case& c : all) {
    SCOPED_TRACE(c.name);
    if (c.error.is_string()) {
      ++errors;
      EXPECT_EQ(error_of(c.messages, c.tools), c.error.get<std::string>());
    } else {
      EXPECT_EQ(render_chat(c.messages, c.tools, c.options).text, c.text.get<std::string>());
    }
  }
  EXPECT_EQ(errors, 4);
}

/// What was fed already and what is fed next make the whole, at every cut behind an assistant's message. The one
/// exception is the template's own: thinking that was kept while its turn was the last is dropped by a later query.
TEST(ChatTemplate, APartialRenderingContinuesTheHistory) {
  int compared = 0;
  int rewritten = 0;
  for (const Case& c : read_cases()) {
    if (c.error.is_string()) continue;
    SCOPED_TRACE(c.name);
    const std::string whole = render_chat(c.messages, c.tools, c.options).text;
    for (std::size_t cut = 1; cut <= c.messages.size(); ++cut) {
      if (c.messages[cut - 1]["role"] != "assistant") continue;
      Json head = Json::array();
      for (std::size_t i = 0; i < cut; ++i) head.push_back(c.messages[i]);
      const std::string before = render(head, c.tools);
      const std::string rest = render_chat(c.messages, c.tools, c.options, cut).text;
      EXPECT_TRUE(whole.ends_with(rest)) << cut;
      const bool later_query = c.messages.size() > cut && whole.compare(0, before.size(), before) != 0;
      if (later_query) {
        ++rewritten;
        EXPECT_NE(before.find("<think>"), std::string::npos) << cut;
      } else {
        EXPECT_EQ(before + rest, whole) << cut;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 50);
  EXPECT_GT(rewritten, 5);
}

TEST(ChatTemplate, APartialRenderingHasTheWholesControlRanges) {
  const Json messages = parse_json(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},
                                       {"role":"user","content":"<|im_end|>"}])",
                                   "messages");
  EXPECT_EQ(marked(render_chat(messages, nullptr, {.add_generation_prompt = true}, 2)),
            "{<|im_start|>user\n}<|im_end|>{<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n}");
  EXPECT_EQ(marked(render_chat(messages, nullptr, {.add_generation_prompt = true, .enable_thinking = true}, 3)),
            "{<|im_start|>assistant\n<think>\n}");
  EXPECT_EQ(render_chat(messages, nullptr, {}, 3).text, "");
  EXPECT_EQ(error_of(messages, nullptr, 4), "first_message is 4 but there are only 3 messages");
}

TEST(ChatTemplate, OnlyTheTemplatesOwnTextIsControl) {
  const Json messages = parse_json(R"([
    {"role": "system", "content": " <|im_start|>S "},
    {"role": "user", "content": [{"text": "<think>"}, {"image": "x"}, {"type": "text", "text": "U "}]},
    {"role": "assistant", "reasoning_content": "<tool_call>", "content": "A<|im_end|>", "tool_calls": [
      {"function": {"name": "f<|im_end|>", "arguments": {"k<think>": "v</tool_call>", "n": [1]}}}]},
    {"role": "tool", "content": "</tool_response><|im_end|>"}])",
                                   "messages");
  EXPECT_EQ(
      marked(render_chat(messages, nullptr, {})),
      "{<|im_start|>system\n}<|im_start|>S{<|im_end|>\n<|im_start|>user\n}<think>{<|vision_start|><|image_pad|>"
      "<|vision_end|>}U{<|im_end|>\n<|im_start|>assistant\n<think>\n}<tool_call>{\n</think>\n\n}A<|im_end|>{\n\n"
      "<tool_call>\n<function=}f<|im_end|>{>\n<parameter=}k<think>{>\n}v</tool_call>{\n</parameter>\n<parameter=}n"
      "{>\n}[1]{\n</parameter>\n</function>\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n}"
      "</tool_response><|im_end|>{\n</tool_response><|im_end|>\n}");
  const Json tools = parse_json(R"([{"name": "</tools><|im_end|>"}])", "tools");
  const PromptText prompt = render_chat(messages, tools, {});
  const std::size_t inside = prompt.text.find("</tools><|im_end|>");
  for (const auto& range : prompt.control) EXPECT_TRUE(range.end <= inside || range.begin >= inside + 18);
}

TEST(ChatTemplate, ThinkingInsideContentIsSplitAsTheTemplateDoes) {
  const auto assistant = [](const std::string& content) {
    return render(Json::array({{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", content}}}))
        .substr(std::string("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n").size());
  };
  EXPECT_EQ(assistant("<think>\n t \n</think>\n\na"), "<think>\nt\n</think>\n\na<|im_end|>\n");
  EXPECT_EQ(assistant("x<think>t</think>a</think>\nb"), "<think>\nt\n</think>\n\nb<|im_end|>\n");
  EXPECT_EQ(assistant("<think>1<think>2</think>b"), "<think>\n2\n</think>\n\nb<|im_end|>\n");
  EXPECT_EQ(assistant("</think>"), "<think>\n\n</think>\n\n<|im_end|>\n");
  EXPECT_EQ(assistant("<think>open"), "<think>\n\n</think>\n\n<think>open<|im_end|>\n");
}

TEST(ChatTemplate, PublicMessagesBecomeTheTemplatesForm) {
  const std::vector<Message> messages = {
      {"user", "hi"}, {"assistant", "", "hm", {{"f", R"({"b": true, "a": {"x": 1.50}})"}}}, {"tool", "ok"}};
  EXPECT_EQ(
      render(to_json(messages)),
      "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\n<tool_call>\n<function=f>\n"
      "<parameter=b>\nTrue\n</parameter>\n<parameter=a>\n{\"x\": 1.5}\n</parameter>\n</function>\n</tool_call>"
      "<|im_end|>\n<|im_start|>user\n<tool_response>\nok\n</tool_response><|im_end|>\n");
  const std::vector<Message> bad = {{"user", "hi"}, {"assistant", "", "", {{"f", "[1]"}}}};
  EXPECT_THROW(to_json(bad), Error);
}

TEST(ChatTemplate, ArgumentsMayBeJsonText) {
  const auto with = [](const Json& arguments) {
    return render(Json::array({{{"role", "user"}, {"content", "q"}},
                               {{"role", "assistant"},
                                {"content", nullptr},
                                {"tool_calls", Json::array({{{"name", "f"}, {"arguments", arguments}}})}}}));
  };
  EXPECT_EQ(with(R"({"a": "x"})"), with(Json{{"a", "x"}}));
  EXPECT_EQ(with(""), with(Json::object()));
  EXPECT_THROW(with("[]"), Error);
  EXPECT_THROW(with("{"), Error);
  EXPECT_THROW(with(3), Error);
}

TEST(ChatTemplate, PicturesAreNumberedAcrossMessages) {
  const Json messages = parse_json(R"([{"role":"user","content":[{"image":1},{"image_url":2},{"video":3}]},
      {"role":"assistant","content":"ok"},{"role":"user","content":[{"type":"image"},{"type":"video"}]}])",
                                   "m");
  EXPECT_EQ(render_chat(messages, nullptr, {.add_vision_id = true}, 2).text,
            "<|im_start|>user\nPicture 3: <|vision_start|><|image_pad|><|vision_end|>"
            "Video 2: <|vision_start|><|video_pad|><|vision_end|><|im_end|>\n");
  const Json system = parse_json(R"([{"role":"system","content":[{"image":1}]},{"role":"user","content":"x"}])", "m");
  EXPECT_EQ(error_of(system), "System message cannot contain images.");
}

TEST(ChatTemplate, WrongTypesGetOneClearError) {
  const auto error = [](const char* text) { return error_of(parse_json(text, "messages")); };
  EXPECT_EQ(error("3"), "messages is number; expected an array of objects");
  EXPECT_EQ(error("null"), "No messages provided.");
  EXPECT_EQ(error("[\"hi\"]"), "messages[0] is string; expected an object with a role and content");
  EXPECT_EQ(error(R"([{"role": 1}])"), "messages[0].role is number; expected a string");
  EXPECT_EQ(error(R"([{"role": "user", "content": 1}])"), "Unexpected content type.");
  EXPECT_EQ(error(R"([{"role": "user", "content": {"text": "x"}}])"), "Unexpected content type.");
  EXPECT_EQ(error(R"([{"role": "user", "content": ["x"]}])"),
            "messages[0].content[0] is string; expected an object with text");
  EXPECT_EQ(error(R"([{"role": "user", "content": [{"text": 1}]}])"),
            "messages[0].content[0].text is number; expected a string");
  EXPECT_EQ(error(R"([{"role": "user", "content": [{}]}])"), "Unexpected item type in content.");
  EXPECT_EQ(error(R"([{"content": "x"}, {"role": "user", "content": "x"}])"), "Unexpected message role.");
  EXPECT_EQ(error(R"([{"role": "user"}, {"role": "assistant", "tool_calls": {"name": "f"}}])"),
            "messages[1].tool_calls is object; expected an array");
  EXPECT_EQ(error(R"([{"role": "user"}, {"role": "assistant", "tool_calls": [{"function": {}}]}])"),
            "messages[1].tool_calls[0] has no name; expected a string");
  EXPECT_EQ(error(R"([{"role": "user"}, {"role": "assistant", "reasoning_content": []}])"),
            "messages[1].reasoning_content is array; expected a string");
  const Json user = Json::array({{{"role", "user"}, {"content", "x"}}});
  EXPECT_EQ(error_of(user, Json::object({{"name", "f"}})),
            "tools is object; expected an array of function definitions");
}

TEST(ChatTemplate, DeepNestingIsRefused) {
  Json deep = 1;
  for (int i = 0; i < 100'000; ++i) deep = Json::array({std::move(deep)});
  const Json user = Json::array({{{"role", "user"}, {"content", "x"}}});
  EXPECT_NE(error_of(user, deep).find("levels deep"), std::string::npos);
}

TEST(ChatTemplate, IllFormedUtf8BecomesTheReplacementCharacter) {
  const Json user = Json::array({{{"role", "user"}, {"content", "a\xFF\xE2\x82"}}});
  EXPECT_EQ(render(user), "<|im_start|>user\na\uFFFD\uFFFD<|im_end|>\n");
}

}  // namespace
}  // namespace qwen35
