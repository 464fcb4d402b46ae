#include <qwen35/chat.h>

#include <iostream>

int main() {
  auto chat = qwen35::Chat::from_pretrained("mini");
  chat.generate("My name is Alex", {.temperature = 0});
  std::cout << chat.generate("What's my name?", {.temperature = 0}) << '\n';
}
