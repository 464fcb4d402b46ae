// A tool loop: the model asks for function calls, the program makes them and hands the results back, until the model
// answers in words.
#include <qwen35/chat.h>

#include <iostream>
#include <string>
#include <vector>

namespace {

constexpr const char* kTools = R"([
  {"type": "function", "function": {
    "name": "set_timer",
    "description": "Start a timer.",
    "parameters": {"type": "object", "required": ["minutes"],
                   "properties": {"minutes": {"type": "integer", "description": "How long, in minutes."}}}}}
])";

// A real program reads call.arguments (a JSON object) with its JSON library and checks them: they come from a model.
std::string run(const qwen35::ToolCall& call) {
  std::cout << "  [" << call.name << ' ' << call.arguments << "]\n";
  if (call.name == "set_timer") return R"({"status": "started"})";
  return R"({"error": "there is no such tool"})";
}

}  // namespace

int main(int argc, char** argv) try {
  auto chat = argc > 1 ? qwen35::Chat::from_pretrained(argv[1]) : qwen35::Chat::from_pretrained();
  std::vector<qwen35::Message> messages = {{.role = "user", .content = "Set a timer for 5 minutes."}};
  const qwen35::GenerateOptions options = {.temperature = 0, .enable_thinking = false, .tools = kTools};
  constexpr int kMaxRounds = 5;  // a model may call tools for ever
  for (int round = 0; round < kMaxRounds; ++round) {
    chat.generate(messages, options);
    const qwen35::Reply& reply = chat.last_reply();
    if (!reply.text.empty()) std::cout << reply.text << '\n';
    if (reply.tool_calls.empty()) return 0;
    messages = chat.messages();  // with the reply; only what is new is computed in the next round
    for (const qwen35::ToolCall& call : reply.tool_calls) messages.push_back({.role = "tool", .content = run(call)});
  }
  std::cerr << "error: still calling tools after " << kMaxRounds << " rounds\n";
  return 1;
} catch (const qwen35::Error& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
