// A conversation in five lines: the model remembers what it was told.
#include <qwen35/chat.h>

#include <iostream>

int main(int argc, char** argv) try {
  auto chat = qwen35::Chat::from_pretrained(argc > 1 ? argv[1] : "mini");
  std::cout << chat.generate("My name is Alex.", {.system_prompt = "Answer briefly."}) << '\n';
  std::cout << chat.generate("What is my name?") << '\n';
} catch (const qwen35::Error& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
