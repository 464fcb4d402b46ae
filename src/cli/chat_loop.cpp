#include "cli/chat_loop.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <istream>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/chat_json.h"
#include "cli/chat_options.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/progress.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kMaxLine = std::size_t{16} << 20;

struct CommandHelp {
  std::string_view usage;
  std::string_view text;
};
constexpr std::array<CommandHelp, 10> kCommands{{
    {"/help", "show this list"},
    {"/system [TEXT]", "show the system prompt, or set it (/system - removes it)"},
    {"/reset", "forget the conversation"},
    {"/regenerate", "another answer in place of the last one (also /again)"},
    {"/undo", "take the last turn back, question and answer"},
    {"/stats", "tokens and times of the last answer, memory in use"},
    {"/save [-f] FILE", "write the session; FILE.json: its messages (-f: over an existing file)"},
    {"/load FILE", "go on from what /save wrote"},
    {"/think on|off", "let the model think before it answers, or not"},
    {"/quit", "leave (also Ctrl-D)"},
}};

std::string trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

/// Nothing expands "~" for us here as a shell would.
std::string expand_home(const std::string& file) {
  const char* home = std::getenv("HOME");
  if (home == nullptr || file.compare(0, 2, "~/") != 0) return file;
  return home + file.substr(1);
}

std::string format(const char* pattern, auto... values) {
  const int size = std::snprintf(nullptr, 0, pattern, values...);
  std::string text(static_cast<std::size_t>(size < 0 ? 0 : size), '\0');
  std::snprintf(text.data(), text.size() + 1, pattern, values...);
  return text;
}

bool blank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }

std::string calls_as_lines(const Reply& reply) {
  std::string lines;
  for (const auto& call : calls_to_json(reply.tool_calls)) lines += to_line(call) + "\n";
  return lines;
}

/// The beginning of a text, on one line.
std::string excerpt(const std::string& text) {
  constexpr std::size_t kLength = 60;
  std::string line = terminal_safe(text.substr(0, text.find('\n')));
  if (line.size() <= kLength) return line;
  std::size_t end = kLength;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80) --end;  // not inside a character
  return line.substr(0, end) + "…";
}

}  // namespace

ChatTerminal::ChatTerminal(Chat& chat, GenerateOptions options, StoredSession& session)
    : chat_(chat), options_(std::move(options)), session_(session), colour_(use_colour(STDOUT_FILENO)) {}

std::string ChatTerminal::help() {
  std::string text;
  for (const CommandHelp& command : kCommands) {
    text += format("  %-17s %s\n", command.usage.data(), command.text.data());
  }
  text += "  //text            say \"/text\" to the model\n";
  text += "Ctrl-C stops an answer, or clears the line.\n";
  return text;
}

int ChatTerminal::run() {
  const PollInterrupt poll;
  LineEditor editor("> ", colour_, history_file());
  const ModelInfo info = chat_.info();
  say(info.name + ", " + info.backend + ". /help lists the commands, Ctrl-D leaves.\n");
  if (session_.loaded() > 0) say(format("The session goes on: %zu messages.\n", session_.loaded()));
  for (;;) {
    clear_interrupt();
    const LineEditor::Result input = editor.read();
    if (input.status == LineEditor::Status::interrupted) {
      write_output("\n");
      continue;
    }
    if (input.status == LineEditor::Status::end) {
      write_output("\n");
      if (leave()) break;
      continue;
    }
    const std::string line = trim(input.line);
    if (line.empty()) continue;
    try {
      if (line.starts_with("//")) {
        answer(line.substr(1));
      } else if (line.front() != '/') {
        answer(input.line);
      } else if (!command(line)) {
        if (leave()) break;
      }
    } catch (const Error& error) {
      say(std::string("error: ") + error.what() + "\n");
    }
  }
  editor.save_history();
  return failed_ ? 1 : 0;
}

void ChatTerminal::answer(const MakeReply& make) {
  leaving_ = false;
  bool waiting = options_.enable_thinking;
  const auto stop_waiting = [&waiting] {
    if (std::exchange(waiting, false)) write_output("\r           \r");
  };
  if (waiting) write_output(colour_ ? "\033[2m(thinking…)\033[0m" : "(thinking…)");
  Reply reply;
  try {
    const CancelOnInterrupt cancel(chat_);
    reply = make([&stop_waiting](std::string_view piece) {
      stop_waiting();
      write_output(terminal_safe(piece));
      return !interrupted();
    });
  } catch (...) {
    stop_waiting();
    throw;
  }
  stop_waiting();
  write_output("\n" + terminal_safe(calls_as_lines(reply)));
  if (const std::string remarks = remarks_on(reply); !remarks.empty()) say(remarks);
}

void ChatTerminal::answer(const std::string& prompt) {
  answer([&](const Chat::OnPiece& on_piece) { return chat_.stream(prompt, options_, on_piece); });
}

void ChatTerminal::regenerate() {
  std::vector<Message> messages = chat_.messages();
  if (!messages.empty() && messages.back().role == "assistant") messages.pop_back();
  if (messages.empty() || messages.back().role == "system" || messages.back().role == "assistant") {
    say("There is no answer to make anew.\n");
    return;
  }
  answer([&](const Chat::OnPiece& on_piece) { return chat_.stream(messages, options_, on_piece); });
}

void ChatTerminal::undo() {
  std::vector<Message> messages = chat_.messages();
  const auto question =
      std::find_if(messages.rbegin(), messages.rend(), [](const Message& message) { return message.role == "user"; });
  if (question == messages.rend()) {
    say("There is nothing to take back.\n");
    return;
  }
  const std::string text = question->content;
  messages.erase(std::prev(question.base()), messages.end());
  const std::size_t left = messages.size();
  chat_.set_messages(std::move(messages));
  say("Taken back: " + excerpt(text) + format("\n%zu messages are left.\n", left));
}

bool ChatTerminal::leave() {
  try {
    session_.save();
    return true;
  } catch (const Error& error) {
    if (std::exchange(leaving_, true)) {
      failed_ = true;
      return true;
    }
    say(std::string("error: the session is not saved: ") + error.what() +
        "\n/save FILE writes it elsewhere; leave once more to go all the same.\n");
    return false;
  }
}

bool ChatTerminal::command(const std::string& line) {
  const std::size_t space = line.find_first_of(" \t");
  const std::string name = line.substr(0, space);
  const std::string arguments = space == std::string::npos ? std::string() : trim(line.substr(space));
  if (name == "/quit" || name == "/exit") return false;
  if (name == "/help") {
    say(help());
  } else if (name == "/system") {
    set_system(arguments);
  } else if (name == "/reset") {
    chat_.reset_conversation();
    say("The conversation is forgotten.\n");
  } else if (name == "/stats") {
    show_stats();
  } else if (name == "/regenerate" || name == "/again") {
    regenerate();
  } else if (name == "/undo") {
    undo();
  } else if (name == "/save") {
    save(arguments);
  } else if (name == "/load") {
    load(arguments);
  } else if (name == "/think") {
    set_thinking(arguments);
  } else {
    say("There is no command " + name + "; /help lists them, // before a text sends it as it is.\n");
  }
  return true;
}

void ChatTerminal::set_system(const std::string& text) {
  const std::vector<Message>& messages = chat_.messages();
  const bool has_message = !messages.empty() && messages.front().role == "system";
  if (text.empty()) {
    std::string current = has_message ? messages.front().content : std::string();
    if (options_.system_prompt) current = *options_.system_prompt;
    say(current.empty() ? "There is no system prompt.\n" : "System prompt: " + current + "\n");
    return;
  }
  if (text != "-") {
    options_.system_prompt = text;
    say("The system prompt is set.\n");
    return;
  }
  options_.system_prompt.reset();
  if (has_message) chat_.set_messages({messages.begin() + 1, messages.end()});
  say("The system prompt is removed.\n");
}

void ChatTerminal::set_thinking(const std::string& text) {
  if (text == "on" || text == "off") options_.enable_thinking = text == "on";
  if (text.empty() || text == "on" || text == "off") {
    say(std::string("Thinking is ") + (options_.enable_thinking ? "on.\n" : "off.\n"));
  } else {
    say("/think takes on or off, not \"" + text + "\".\n");
  }
}

void ChatTerminal::show_stats() const {
  const Metrics& m = chat_.last_reply().metrics;
  std::string text = format("prompt     %zu tokens, %zu of them reused\n", m.prompt_tokens, m.reused_tokens);
  text += format("answer     %zu tokens, %zu more of thinking\n", m.reply_tokens, m.thinking_tokens);
  text += format("guessed    %zu tokens from the context, %zu of them right\n", m.drafted_tokens, m.accepted_tokens);
  text += format("times      prefill %.0f ms, first token %.0f ms, first text %.0f ms, total %.0f ms\n", m.prefill_ms,
                 m.time_to_first_token_ms, m.time_to_first_text_ms, m.total_ms);
  text += format("decode     %.1f tokens/s\n", m.decode_tokens_per_second);
  const ModelInfo info = chat_.info();
  text += format("model      %s, %.1f M weights of %.2f bits, context %zu\n", info.name.c_str(),
                 static_cast<double>(info.parameters) / 1e6, info.bits_per_weight, info.context);
  text += "backend    " + info.backend + "\n";
  text += format("memory     %.1f MB\n", static_cast<double>(chat_.memory_footprint()) / 1e6);
  say(text);
}

void ChatTerminal::save(std::string arguments) {
  const bool overwrite = arguments.starts_with("-f ");
  if (overwrite) arguments = trim(arguments.substr(3));
  if (arguments.empty() || arguments == "-f") {
    say("/save needs a file: /save [-f] FILE\n");
    return;
  }
  const std::string file = expand_home(arguments);
  if (!overwrite && access(file.c_str(), F_OK) == 0) {
    say(file + " is there already; /save -f " + file + " overwrites it.\n");
    return;
  }
  save_conversation(chat_, file, overwrite);
  say(format("Saved %zu messages to ", chat_.messages().size()) + file + "\n");
}

void ChatTerminal::load(const std::string& file) {
  if (file.empty()) {
    say("/load needs a file: /load FILE\n");
    return;
  }
  load_conversation(chat_, expand_home(file));
  options_.system_prompt.reset();  // the loaded conversation brings its own
  say(format("Loaded %zu messages.\n", chat_.messages().size()));
}

void ChatTerminal::say(const std::string& text) const {
  write_output(colour_ ? "\033[2m" + terminal_safe(text) + "\033[0m" : terminal_safe(text));
}

int run_chat_pipe(Chat& chat, const GenerateOptions& options, std::istream& in) {
  const PollInterrupt poll;
  for (std::size_t number = 1;; ++number) {
    const std::string where = "line " + std::to_string(number) + " of standard input";
    const auto line = read_line(in, kMaxLine, where);
    if (interrupted()) return kInterruptedExitCode;
    if (!line) return 0;
    if (blank(*line)) continue;
    Reply reply;
    {
      const CancelOnInterrupt cancel(chat);
      reply = chat.stream(*line, options, [](std::string_view piece) {
        write_output(piece);
        return !interrupted();
      });
    }
    write_output("\n");
    if (interrupted()) return kInterruptedExitCode;
    warn_of(reply, where);
  }
}

}  // namespace qwen35::cli
