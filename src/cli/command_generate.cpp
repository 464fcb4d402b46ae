#include <iostream>
#include <memory>

#include "cli/chat_json.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/text_io.h"
#include "text/chat_template.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kMaxInput = std::size_t{64} << 20;

struct Options {
  ChatOptions chat;
  std::string prompt;
  std::string messages;
  std::string tools;
  bool jsonl = false;
  bool json = false;
  bool stream = false;
};

/// What a program reads; `text` has been printed already when streaming.
void print_reply(const Reply& reply, const Options& options) {
  if (options.json) {
    write_output(to_line(reply_to_json(reply)) + "\n");
    return;
  }
  std::string output = options.stream ? "" : reply.text;
  if (!reply.text.empty()) output += "\n";
  const nlohmann::ordered_json json = reply_to_json(reply);
  for (const auto& call : json["tool_calls"]) output += to_line(call) + "\n";
  write_output(output);
}

int run_once(Options& options) {
  GenerateOptions& generate = options.chat.generate;
  std::vector<Message> messages;
  if (!options.messages.empty()) {
    messages = parse_messages(read_all(options.messages, kMaxInput), options.messages);
  } else {
    if (options.prompt == "-") options.prompt = read_all("-", kMaxInput);
    messages.push_back({.role = "user", .content = options.prompt});
  }
  if (!options.tools.empty()) generate.tools = to_line(parse_json(read_all(options.tools, kMaxInput), options.tools));

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
  GenerateOptions defaults = options.chat.generate;
  if (!options.tools.empty()) defaults.tools = to_line(parse_json(read_all(options.tools, kMaxInput), options.tools));
  Chat chat = load_chat(options.chat);
  bool failed = false;
  for (std::size_t number = 1;; ++number) {
    const std::string where = "line " + std::to_string(number);
    nlohmann::ordered_json output;
    try {
      const auto line = read_line(std::cin, kMaxInput, where);
      if (!line) return failed ? 1 : 0;
      if (line->find_first_not_of(" \t") == std::string::npos) continue;
      const Request request = parse_request(*line, where, defaults);
      if (!request.id.is_null()) output["id"] = request.id;
      const CancelOnInterrupt cancel(chat);
      const Reply reply =
          chat.stream(request.messages, request.options, [](std::string_view) { return !interrupted(); });
      if (interrupted()) return kInterruptedExitCode;
      output.update(reply_to_json(reply));
    } catch (const Error& error) {
      failed = true;
      const std::string message = error.what();
      output["error"] = message.starts_with(where) ? message : where + ": " + message;
    }
    write_output(to_line(output) + "\n");
  }
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
  command->add_option("--tools", options->tools, "JSON file with an array of tool definitions (OpenAI form)")
      ->type_name("FILE");
  CLI::Option* const json = command->add_flag("--json", options->json, "print the reply as one JSON object");
  command->add_flag("--stream", options->stream, "print the answer piece by piece as it comes")
      ->excludes(json)
      ->excludes(jsonl);
  add_chat_options(*command, options->chat);
  command->footer(
      "A request of --jsonl has \"messages\" and may have \"tools\", \"enable_thinking\", \"max_thinking_tokens\",\n"
      "\"max_tokens\", \"temperature\", \"top_k\", \"top_p\", \"repetition_penalty\", \"repetition_window\", \"seed\" "
      "and\n"
      "an \"id\" that comes back; what it does not state is taken from the command line. A reply has \"text\", "
      "\"thinking\",\n"
      "\"tool_calls\", \"finish_reason\" and \"metrics\"; a request that failed has \"error\", the run goes on, and "
      "the exit\n"
      "code is 1 at the end. Blank lines are skipped.\n\n"
      "Examples:\n"
      "  qwen35 generate --prompt \"What is the capital of France?\" --temp 0\n"
      "  qwen35 generate --prompt - --stream < question.txt\n"
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"seed\": 1}' | qwen35 generate --jsonl");
  command->callback(
      [options, &run] { run = [options] { return options->jsonl ? run_lines(*options) : run_once(*options); }; });
}

}  // namespace qwen35::cli
