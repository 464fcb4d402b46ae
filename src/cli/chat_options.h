#pragma once

#include <qwen35/chat.h>

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

namespace qwen35::cli {

/// What chat and generate share.
struct ChatOptions {
  std::string model = kDefaultModel;
  LoadOptions load;
  GenerateOptions generate;
  std::string tools_file;
  std::string schema;  ///< a JSON Schema, or the file that holds it
  std::string grammar_file;

  /// Reads the files into `generate`. `input_user`: the option that reads standard input, or "": then one of the files
  /// may be "-". Throws Error naming the file.
  void read_files(std::string_view input_user);
};

/// "auto", "none", "required", or else the name of a function.
ToolChoice tool_choice_of(const std::string& word);

/// Adds --model, --system and every option of sampling, of the answer, of the conversation and of compute.
/// `options` must outlive the parse.
void add_chat_options(CLI::App& command, ChatOptions& options);

/// Chat::from_pretrained with a notice on the terminal meanwhile.
Chat load_chat(const ChatOptions& options);

/// What happened to a reply that its text does not show, a line each with a newline: why it ended early, a call cut
/// off, messages left out. "": nothing.
std::string remarks_on(const Reply& reply);

/// For output that only programs read: says on standard error what its text cannot (a call cut off, messages left out,
/// an answer that went in circles), `where` before it.
void warn_of(const Reply& reply, std::string_view where);

}  // namespace qwen35::cli
