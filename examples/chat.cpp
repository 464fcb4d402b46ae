// A conversation in five lines: the model remembers what it was told.
#include <qwen35/chat.h>

#include <iostream>

int main(int argc, char** argv) try {
  auto chat = argc > 1 ? qwen35::Chat::from_pretrained(argv[1]) : qwen35::Chat::from_pretrained();
  std::cout << chat.generate("My name is Alex.", {.system_prompt = "Answer briefly."}) << '\n';
  std::cout << chat.generate("What is my name?") << '\n';
} catch (const qwen35::Error& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
