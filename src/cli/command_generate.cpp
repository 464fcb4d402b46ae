#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "cli/chat_json.h"
#include "cli/chat_options.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/request_json.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kMaxInput = std::size_t{64} << 20;

struct Options {
  ChatOptions chat;
  std::string prompt;
  std::string messages;
  std::optional<int> logprobs;
  bool jsonl = false;
  bool json = false;
  bool stream = false;
};

/// What a program reads; `text` has been printed already when streaming.
void print_reply(const Reply& reply, const Options& options) {
  if (options.json) {
    write_output(to_line(reply_to_json(reply, options.logprobs.has_value())) + "\n");
    return;
  }
  std::string output = options.stream ? "" : reply.text;
  if (!reply.text.empty()) output += "\n";
  for (const auto& call : calls_to_json(reply.tool_calls)) output += to_line(call) + "\n";
  write_output(output);
  warn_of(reply, "the answer");
}

/// What reads standard input; "": nothing does.
std::string input_user(const Options& options) {
  if (options.jsonl) return "--jsonl";
  if (options.prompt == "-") return "--prompt -";
  return options.messages == "-" ? "--messages -" : "";
}

int run_once(Options& options) {
  const GenerateOptions& generate = options.chat.generate;
  std::vector<Message> messages;
  if (!options.messages.empty()) {
    messages = parse_messages(read_all(options.messages, kMaxInput), options.messages);
  } else {
    if (options.prompt == "-") options.prompt = read_all("-", kMaxInput);
    messages.push_back({.role = "user", .content = options.prompt});
  }

  Chat chat = load_chat(options.chat);
  const CancelOnInterrupt cancel(chat);
  const Reply reply = chat.stream(messages, generate, [&options](std::string_view piece) {
    if (options.stream) write_output(piece);
    return !interrupted();
  });
  print_reply(reply, options);
  return interrupted() ? kInterruptedExitCode : 0;
}

/// One request a line in, one reply a line out, in order; a bad request costs its own line only.
int run_lines(const Options& options) {
  Chat chat = load_chat(options.chat);
  bool failed = false;
  for (std::size_t number = 1;; ++number) {
    const std::string where = "line " + std::to_string(number);
    nlohmann::ordered_json output;
    try {
      const auto line = read_line(std::cin, kMaxInput, where);
      if (!line) return failed ? 1 : 0;
      if (line->find_first_not_of(" \t") == std::string::npos) continue;
      const Request request = parse_request(*line, where, options.chat.generate);
      if (!request.id.is_null()) output["id"] = request.id;
      const CancelOnInterrupt cancel(chat);
      const Reply reply =
          chat.stream(request.messages, request.options, [](std::string_view) { return !interrupted(); });
      if (interrupted()) return kInterruptedExitCode;
      output.update(reply_to_json(reply, request.options.logprobs || request.options.top_logprobs > 0));
    } catch (const Error& error) {
      failed = true;
      const std::string message = error.what();
      output["error"] = message.starts_with(where) ? message : where + ": " + message;
    }
    write_output(to_line(output) + "\n");
  }
}

/// Lines of at most 110 characters, broken behind commas.
std::string wrapped(const std::string& list) {
  std::string text;
  std::size_t column = 40;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(", ", begin), list.size());
    const std::string word = list.substr(begin, end + 1 - begin);
    if (begin > 0) text += column + word.size() > 110 ? "\n" : " ";
    column = text.ends_with('\n') ? word.size() : column + 1 + word.size();
    text += word;
    begin = end + 2;
  }
  return text;
}

}  // namespace

void add_generate_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("generate", "Answer one prompt, a list of messages, or many requests");
  const auto options = std::make_shared<Options>();
  CLI::Option_group* const input = command->add_option_group("Input", "exactly one of these");
  input->add_option("-p,--prompt", options->prompt, "what the user says; - reads it from standard input")
      ->type_name("TEXT");
  input
      ->add_option("--messages", options->messages,
                   "JSON file with {\"messages\": [{\"role\", \"content\"}, ...]}; - is standard input")
      ->type_name("FILE");
  CLI::Option* const jsonl =
      input->add_flag("--jsonl", options->jsonl, "requests from standard input, one JSON object a line");
  input->require_option(1);
  CLI::Option* const json = command->add_flag("--json", options->json, "print the reply as one JSON object");
  command->add_flag("--stream", options->stream, "print the answer piece by piece as it comes")
      ->excludes(json)
      ->excludes(jsonl);
  command
      ->add_option_function<int>(
          "--logprobs",
          [options = options.get()](int count) {
            options->logprobs = count;
            options->chat.generate.logprobs = true;
            options->chat.generate.top_logprobs = count;
          },
          "JSON replies say how likely each token was, and the N likeliest at its place")
      ->check(in_range(0, 20))
      ->type_name("N");
  add_chat_options(*command, options->chat);
  command->footer(
      "A request of --jsonl has \"messages\" and may have options and an \"id\" that comes back; what it does not "
      "state is\n"
      "taken from the command line. Options: " +
      wrapped(request_options()) +
      ".\nA reply has \"text\", \"thinking\", \"tool_calls\", \"finish_reason\", \"metrics\" and more; a request that "
      "failed has\n"
      "\"error\", the run goes on, and the exit code is 1 at the end. Blank lines are skipped.\n\n"
      "Examples:\n"
      "  qwen35 generate --prompt \"What is the capital of France?\" --temp 0\n"
      "  qwen35 generate --prompt - --stream < question.txt\n"
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"seed\": 1}' | qwen35 generate --jsonl");
  command->callback([options, &run] {
    if (options->logprobs && !options->json && !options->jsonl) {
      throw CLI::ValidationError("--logprobs", "only JSON can carry them: add --json, or use --jsonl");
    }
    run = [options] {
      options->chat.read_files(input_user(*options));
      return options->jsonl ? run_lines(*options) : run_once(*options);
    };
  });
}

}  // namespace qwen35::cli
