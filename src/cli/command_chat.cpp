#include <unistd.h>

#include <cstdio>
#include <exception>
#include <istream>
#include <memory>
#include <string>

#include "cli/chat_loop.h"
#include "cli/chat_options.h"
#include "cli/cli.h"
#include "cli/conversation_files.h"
#include "cli/interrupt.h"
#include "cli/interruptible_input.h"

namespace qwen35::cli {
namespace {

struct Options {
  ChatOptions chat;
  std::string session;
};

int run_chat(Options& options) {
  const bool terminal = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
  options.chat.read_files("chat");
  Chat chat = load_chat(options.chat);
  StoredSession session(chat, options.session);
  const PollInterrupt poll;  // Ctrl-C must not end the process before the session is saved
  int code = 0;
  try {
    if (terminal) {
      code = ChatTerminal(chat, options.chat.generate, session).run();
    } else {
      InterruptibleInput input(STDIN_FILENO);
      std::istream in(&input);
      code = run_chat_pipe(chat, options.chat.generate, in);
      session.save();
    }
  } catch (...) {
    try {
      session.save();  // what was said before is whole
    } catch (const std::exception& error) {
      std::fprintf(stderr, "error: the session is not saved: %s\n", error.what());
    }
    throw;
  }
  return code;
}

}  // namespace

void add_chat_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("chat", "Talk with a model");
  const auto options = std::make_shared<Options>();
  command
      ->add_option("--session", options->session,
                   "go on from this file if it exists, and save the conversation to it in the end")
      ->type_name("FILE");
  add_chat_options(*command, options->chat);
  command->footer(
      "On a terminal, a line that begins with / is a command:\n" + ChatTerminal::help() +
      "With input or output that is no terminal, every line of standard input is a turn, / or not; the answers, one\n"
      "after another with a newline after each, are all that standard output gets. Blank lines are skipped.\n\n"
      "Examples:\n"
      "  qwen35 chat\n"
      "  qwen35 chat --session ~/talk.session\n"
      "  qwen35 chat --model ./Qwen3.5-0.8B-4bit --system \"Answer briefly.\" --no-thinking\n"
      "  printf 'My name is Alex.\\nWhat is my name?\\n' | qwen35 chat --temp 0");
  command->callback([options, &run] { run = [options] { return run_chat(*options); }; });
}

}  // namespace qwen35::cli
