#include "cli/chat_options.h"

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <system_error>
#include <vector>

#include "cli/model_download.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text_io.h"
#include "text/chat_template.h"
#include "text/python_json.h"

namespace qwen35::cli {
namespace {

constexpr double kMaxCount = std::numeric_limits<int>::max();
constexpr std::size_t kMaxFile = std::size_t{64} << 20;
constexpr const char* kSampling = "Sampling";
constexpr const char* kAnswer = "Answer";
constexpr const char* kConversation = "Conversation";
constexpr const char* kCompute = "Compute";

/// Adds options of one group that hold a number.
class Group {
 public:
  Group(CLI::App& command, const char* name) : command_(command), name_(name) {}

  template <typename T>
  void number(const char* name, T& value, const char* help, const CLI::Validator& check) {
    command_.add_option(name, value, help)->check(check)->type_name("N")->capture_default_str()->group(name_);
  }
  template <typename Function>
  CLI::Option* flag(const char* name, const Function& set, const char* help) {
    return command_.add_flag_callback(name, set, help)->group(name_);
  }
  CLI::Option* text(const char* name, std::string& value, const char* type, const char* help) {
    return command_.add_option(name, value, help)->type_name(type)->group(name_);
  }
  /// May be given several times, one value each.
  template <typename Function>
  void list(const char* name, const Function& set, const char* type, const char* help) {
    command_.add_option_function<std::vector<std::string>>(name, set, help)
        ->type_name(type)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->group(name_);
  }
  template <typename T>
  void choice(const char* name, T& value, const std::map<std::string, T>& words, const char* standard,
              const char* help) {
    std::vector<std::string> names;
    for (const auto& [word, meaning] : words) names.push_back(word);
    command_
        .add_option_function<std::string>(
            name, [&value, words](const std::string& word) { value = words.at(word); }, help)
        ->check(CLI::IsMember(names))
        ->type_name("NAME")
        ->default_str(standard)
        ->group(name_);
  }

 private:
  CLI::App& command_;
  const char* name_;
};

/// "123=-5". Throws CLI::ValidationError.
LogitBias parse_logit_bias(const std::string& text) {
  LogitBias bias;
  const char* const end = text.data() + text.size();
  const auto token = std::from_chars(text.data(), end, bias.token);
  if (token.ec == std::errc() && bias.token >= 0 && token.ptr != end && *token.ptr == '=') {
    const auto value = std::from_chars(token.ptr + 1, end, bias.bias);
    if (value.ec == std::errc() && value.ptr == end && bias.bias >= -100 && bias.bias <= 100) return bias;
  }
  throw CLI::ValidationError("--logit-bias",
                             "'" + text + "' is not TOKEN=BIAS, the id of a token and a number in [-100, 100]");
}

void add_sampling_options(CLI::App& command, GenerateOptions& generate) {
  Group group(command, kSampling);
  group.number("--temp", generate.temperature, "temperature; 0: always the likeliest token", in_range(0, 100));
  group.number("--top-k", generate.top_k, "sample among the K likeliest tokens; 0: off", in_range(0, kMaxCount));
  group.number("--top-p", generate.top_p, "sample among the likeliest tokens of this joint probability; 1: off",
               above(0, 1));
  group.number("--min-p", generate.min_p, "drop tokens below this share of the best one's probability; 0: off",
               below(0, 1));
  group.number("--repetition-penalty", generate.repetition_penalty, "above 1: recent tokens become less likely; 1: off",
               above(0, 100));
  group.number("--repetition-window", generate.repetition_window, "how many tokens the penalty looks back",
               in_range(0, 1 << 20));
  group.number("--presence-penalty", generate.presence_penalty, "off the logit of a token that the reply has, once",
               in_range(-2, 2));
  group.number("--frequency-penalty", generate.frequency_penalty, "the same for each time the reply has it",
               in_range(-2, 2));
  group.list(
      "--logit-bias",
      [&generate](const std::vector<std::string>& list) {
        for (const std::string& text : list) generate.logit_bias.push_back(parse_logit_bias(text));
      },
      "TOKEN=BIAS", "add BIAS to the logit of token id TOKEN, -100 bans it; may be repeated");
  group.number("--no-repeat-ngram", generate.no_repeat_ngram,
               "no run of N tokens comes twice in a reply; 0: off, else at least 2",
               CLI::Validator(
                   [](const std::string& text) {
                     return text == "1" ? std::string("'1' would allow each token once; give 0 or 2 to 256")
                                        : std::string();
                   },
                   "") &
                   in_range(0, 256));
  command
      .add_option_function<std::string>(
          "--seed", [&generate](const std::string& text) { generate.seed = parse_seed(text); },
          "seed of the random draws; without one every run differs")
      ->type_name("N")
      ->group(kSampling);
}

void add_answer_options(CLI::App& command, ChatOptions& options) {
  GenerateOptions& generate = options.generate;
  Group group(command, kAnswer);
  group.number("--max-tokens", generate.max_tokens, "most tokens of one answer, thinking apart",
               in_range(1, kMaxCount));
  group.flag(
      "--no-thinking", [&generate] { generate.enable_thinking = false; }, "answer without thinking first");
  group.number("--max-thinking-tokens", generate.max_thinking_tokens, "thinking is cut there and the answer begins",
               in_range(0, kMaxCount));
  group.list(
      "--stop", [&generate](const std::vector<std::string>& list) { generate.stop = list; }, "TEXT",
      "the answer ends before this text; may be repeated");
  group.flag(
      "--no-loop-guard", [&generate] { generate.loop_guard = false; },
      "let an answer that goes round in circles go on");
  CLI::Option* const schema =
      group.text("--json-schema", options.schema, "FILE|JSON", "the answer is JSON that this JSON Schema describes");
  CLI::Option* const object = group.flag(
      "--json-object", [&generate] { generate.json_object = true; }, "the answer is a JSON object, whichever");
  CLI::Option* const grammar =
      group.text("--grammar", options.grammar_file, "FILE", "the answer follows this grammar (GBNF)");
  schema->excludes(object)->excludes(grammar);
  object->excludes(grammar);
  group.text("--tools", options.tools_file, "FILE", "JSON array of tool definitions (OpenAI form)");
  command
      .add_option_function<std::string>(
          "--tool-choice", [&generate](const std::string& word) { generate.tool_choice = tool_choice_of(word); },
          "whether tools are called: auto, none, required, or the name of the one to call")
      ->type_name("auto|none|required|NAME")
      ->default_str("auto")
      ->group(kAnswer);
}

void add_conversation_options(CLI::App& command, ChatOptions& options) {
  Group group(command, kConversation);
  group.number("--context", options.load.context, "most tokens a conversation may hold; 0: the model's own limit",
               in_range(0, 1e9));
  group.choice<ContextPolicy>("--context-policy", options.generate.context_policy,
                              {{"error", ContextPolicy::error}, {"drop", ContextPolicy::drop_oldest}}, "error",
                              "where the context is full: an error, or drop the oldest turns");
  group.choice<HistoryForm>("--history", options.generate.history,
                            {{"sampled", HistoryForm::sampled}, {"rendered", HistoryForm::rendered}}, "sampled",
                            "earlier replies as they were sampled, or as the chat template renders them");
  command
      .add_option_function<std::size_t>(
          "--session-memory", [&options](std::size_t megabytes) { options.load.session_memory = megabytes << 20; },
          "MiB for the conversation's state and snapshots")
      ->check(in_range(0, 1 << 24))
      ->type_name("MB")
      ->default_str(std::to_string(options.load.session_memory >> 20))
      ->group(kConversation);
}

/// A schema is an object, and a file name seldom begins like one.
bool is_inline(const std::string& schema) {
  const std::size_t begin = schema.find_first_not_of(" \t\r\n");
  return begin != std::string::npos && schema[begin] == '{';
}

/// What went on in a reply that nobody would guess from its text.
std::vector<std::string> problems_of(const Reply& reply) {
  std::vector<std::string> list;
  if (reply.dropped_messages > 0) {
    list.push_back("the context was full: the oldest messages were left out, " +
                   std::to_string(reply.dropped_messages) + " of them");
  }
  if (!reply.truncated_tool_call.empty()) {
    list.push_back("the answer ended inside a tool call, which was not made: " + reply.truncated_tool_call);
  }
  if (reply.finish_reason == FinishReason::loop) list.emplace_back("the answer went round in circles and was ended");
  return list;
}

}  // namespace

ToolChoice tool_choice_of(const std::string& word) {
  if (word == "auto") return ToolChoice::automatic();
  if (word == "none") return ToolChoice::none();
  if (word == "required") return ToolChoice::required();
  return ToolChoice::function(word);
}

void add_chat_options(CLI::App& command, ChatOptions& options) {
  add_model_option(command, options.model, kDefaultModel);
  GenerateOptions& generate = options.generate;
  command
      .add_option_function<std::string>(
          "-s,--system", [&generate](const std::string& text) { generate.system_prompt = text; }, "system prompt")
      ->type_name("TEXT");
  add_sampling_options(command, generate);
  add_answer_options(command, options);
  add_conversation_options(command, options);
  add_compute_options(command, options.load);
  Group(command, kCompute)
      .flag(
          "--no-lookup", [&generate] { generate.lookup = false; },
          "do not guess tokens that repeat the context (the answer is the same)");
}

void ChatOptions::read_files(std::string_view input_user) {
  std::string reader(input_user);
  const auto read = [&reader](const char* option, const std::string& file) {
    if (file == "-") {
      if (!reader.empty()) {
        throw Error(ErrorCode::invalid_argument,
                    std::string(option) + " - would read standard input, which " + reader + " reads; give a file");
      }
      reader = std::string(option) + " -";
    }
    return read_all(file, kMaxFile);
  };
  if (!tools_file.empty()) generate.tools = python_json(parse_json(read("--tools", tools_file), tools_file));
  if (!schema.empty()) generate.json_schema = is_inline(schema) ? schema : read("--json-schema", schema);
  if (!grammar_file.empty()) generate.grammar = read("--grammar", grammar_file);
}

Chat load_chat(const ChatOptions& options) {
  const std::filesystem::path folder = find_model(options.model);
  const Notice notice("loading " + options.model);
  return Chat::from_pretrained(folder.string(), options.load);
}

std::string remarks_on(const Reply& reply) {
  std::string text;
  const auto add = [&text](const std::string& remark) { text += "(" + remark + ")\n"; };
  for (const std::string& problem : problems_of(reply)) add(problem);
  if (reply.finish_reason == FinishReason::cancelled) add("stopped");
  if (reply.finish_reason == FinishReason::length) add("cut off: the limit of --max-tokens or of the context");
  return text;
}

void warn_of(const Reply& reply, std::string_view where) {
  for (const std::string& problem : problems_of(reply)) {
    std::fprintf(stderr, "warning: %.*s: %s\n", static_cast<int>(where.size()), where.data(),
                 terminal_safe(problem).c_str());
  }
}

}  // namespace qwen35::cli
