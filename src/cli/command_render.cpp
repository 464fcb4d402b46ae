#include <qwen35/error.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "chat/model_locator.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/text_io.h"
#include "text/chat_template.h"

namespace qwen35::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kInputLimit = std::size_t{64} << 20;

bool flag(const Json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return false;
  if (!found->is_boolean()) {
    throw Error(ErrorCode::invalid_argument,
                std::string(name) + " is a JSON " + found->type_name() + "; expected true or false");
  }
  return found->get<bool>();
}

int run_render(const std::string& model) {
  if (!model.empty()) (void)resolve_model(model, {.offline = true});
  const Json request = parse_json(read_all("-", kInputLimit), "standard input");
  if (!request.is_object()) {
    throw Error(ErrorCode::invalid_argument, std::string("standard input is a JSON ") + request.type_name() +
                                                 R"(; expected an object such as {"messages": [...]})");
  }
  const auto member = [&](const char* name) {
    const auto found = request.find(name);
    return found == request.end() ? Json() : *found;
  };
  TemplateOptions options;
  options.add_generation_prompt = flag(request, "add_generation_prompt");
  options.enable_thinking = flag(request, "enable_thinking");
  options.add_vision_id = flag(request, "add_vision_id");
  std::cout << render_chat(member("messages"), member("tools"), options).text;
  return 0;
}

}  // namespace

void add_render_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("render", "The prompt that the chat template makes of messages");
  const auto model = std::make_shared<std::string>();
  command->add_option("--model", *model, "checked to be there (never downloaded); the template is the same for every Qwen3.5 model");
  command->footer(
      "Reads a JSON object from standard input: messages, and if wanted tools, enable_thinking and\n"
      "add_generation_prompt. Prints the text as it is, with no line end added.\n\n"
      "Example:\n  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' | qwen35 render");
  command->callback([model, &run] { run = [model] { return run_render(*model); }; });
}

}  // namespace qwen35::cli
