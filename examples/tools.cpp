// Tools: the model asks for function calls, the library checks and makes them and hands the results back, until the
// model answers in words.
#include <qwen35/tools.h>

#include <iostream>
#include <string>

int main(int argc, char** argv) try {
  auto chat = qwen35::Chat::from_pretrained(argc > 1 ? argv[1] : "mini");
  qwen35::Toolbox tools;
  tools.add({.name = "set_timer",
             .description = "Start a timer.",
             .parameters = R"({"type": "object", "required": ["minutes"], "properties": {
                               "minutes": {"type": "integer", "minimum": 1, "description": "How long, in minutes."}}})",
             // A real program reads the arguments with its JSON library; that they fit the schema is certain.
             .run = [](const std::string&) { return std::string(R"({"status": "started"})"); }});

  qwen35::ToolLoopOptions loop;
  loop.on_piece = [](std::string_view piece) {
    std::cout << piece << std::flush;
    return true;
  };
  loop.on_result = [](const qwen35::ToolCall& call, const std::string& result) {
    std::cout << "  [" << call.name << ' ' << call.arguments << " -> " << result << "]\n";
  };
  const std::string prompt = argc > 2 ? argv[2] : "Set a timer for 5 minutes.";
  const qwen35::Reply reply =
      qwen35::run_tools(chat, prompt, tools, {.temperature = 0, .enable_thinking = false}, loop);
  std::cout << '\n';
  return reply.tool_calls.empty() ? 0 : 1;
} catch (const qwen35::Error& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
