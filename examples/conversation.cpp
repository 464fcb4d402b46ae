// A conversation that is edited, interrupted, forked, stored and taken up again. Nothing is computed twice; the numbers
// that it prints show it.
#include <qwen35/chat.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace {

void show(const qwen35::Chat& chat, const char* what) {
  const qwen35::Reply& reply = chat.last_reply();
  std::printf("%-22s %3zu of %3zu tokens computed: %s\n", what,
              reply.metrics.prompt_tokens - reply.metrics.reused_tokens, reply.metrics.prompt_tokens,
              reply.text.c_str());
}

}  // namespace

int main(int argc, char** argv) try {
  auto chat = qwen35::Chat::from_pretrained(argc > 1 ? argv[1] : "mini");
  const qwen35::GenerateOptions options{.temperature = 0, .enable_thinking = false};

  chat.generate("My name is Alex.", options);
  show(chat, "first turn");
  chat.generate("What's my name?", options);
  show(chat, "second turn");

  // The last question, asked otherwise: what stands before it is kept.
  std::vector<qwen35::Message> messages = chat.messages();
  messages.pop_back();
  messages.back().content = "Do you know my name?";
  chat.generate(messages, options);
  show(chat, "edited");

  chat.regenerate(options);
  show(chat, "regenerated");

  // The user interrupts: only what was heard belongs to the conversation.
  const std::string heard = chat.last_reply().text.substr(0, chat.last_reply().text.find(' '));
  chat.truncate_reply(heard);
  chat.generate("Go on.", options);
  show(chat, "after an interruption");

  // While the user speaks, what is known already is computed.
  chat.prefill("What is", options);
  chat.prefill("What is seven plus", options);
  chat.generate("What is 7 plus 5?", options);
  show(chat, "early prefill");

  qwen35::Chat other = chat.fork();
  other.generate("What's my name?", options);
  show(other, "a fork");

  const std::filesystem::path file = std::filesystem::temp_directory_path() / "qwen35-example.session";
  chat.save_session(file);
  chat.unload();  // the weights are gone; the session stays
  chat.reload();
  chat.generate("What's my name?", options);
  show(chat, "reloaded");
  chat.load_session(file);
  chat.generate("Thanks!", options);
  show(chat, "from the file");
  std::filesystem::remove(file);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
