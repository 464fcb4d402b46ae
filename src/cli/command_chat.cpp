#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/chat_loop.h"
#include "cli/cli.h"
#include "cli/options.h"

namespace qwen35::cli {
namespace {

int run_chat(const ChatOptions& options) {
  const bool terminal = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  Chat chat = load_chat(options);
  return terminal ? ChatTerminal(chat, options.generate).run() : run_chat_pipe(chat, options.generate, std::cin);
}

}  // namespace

void add_chat_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("chat", "Talk with a model");
  const auto options = std::make_shared<ChatOptions>();
  add_chat_options(*command, *options);
  command->footer(
      "On a terminal, a line that begins with / is a command:\n" + ChatTerminal::help() +
      "With input or output that is no terminal, every line of standard input is a turn, / or not; the answers, one\n"
      "after another with a newline after each, are all that standard output gets. Blank lines are skipped.\n\n"
      "Examples:\n"
      "  qwen35 chat\n"
      "  qwen35 chat --model ./Qwen3.5-0.8B-4bit --system \"Answer briefly.\" --no-thinking\n"
      "  printf 'My name is Alex.\\nWhat is my name?\\n' | qwen35 chat --temp 0");
  command->callback([options, &run] { run = [options] { return run_chat(*options); }; });
}

}  // namespace qwen35::cli
