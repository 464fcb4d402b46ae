#include <qwen35/chat.h>
#include <qwen35/hub.h>

#include <iostream>

int main() {
  // Linked with whatever downloads need, and nothing of that asked of this project.
  if (qwen35::hub::find("no-such-org/no-such-model")) return 1;
  std::cout << (qwen35::hub::can_download() ? "with" : "without") << " downloads\n";
  auto chat = qwen35::Chat::from_pretrained("mini");
  chat.generate("My name is Alex", {.temperature = 0});
  std::cout << chat.generate("What's my name?", {.temperature = 0}) << '\n';
}
