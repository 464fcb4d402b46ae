// Replies that arrive piece by piece: pulled with a range, pushed to a callback, and stopped from another thread.
#include <qwen35/chat.h>

#include <chrono>
#include <iostream>
#include <string_view>
#include <thread>

namespace {

void pull(qwen35::Chat& chat) {
  for (std::string_view piece : chat.stream("Tell me a joke", {.system_prompt = "Be funny."})) {
    std::cout << piece << std::flush;
  }
  std::cout << '\n';
}

void push(qwen35::Chat& chat) {
  const qwen35::Reply reply = chat.stream("Another one, please", {}, [](std::string_view piece) {
    std::cout << piece << std::flush;
    return true;  // false would stop the reply here
  });
  std::cout << "\n[" << reply.metrics.reply_tokens << " tokens, " << reply.metrics.reused_tokens
            << " tokens of the conversation were not computed again]\n";
}

void cancel(qwen35::Chat& chat) {
  // cancel() is the one call that another thread may make; it applies to the reply in progress.
  std::jthread impatient([&chat](const std::stop_token& stop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (!stop.stop_requested()) chat.cancel();
  });
  const qwen35::Reply reply = chat.stream("And a long one", {}, [](std::string_view piece) {
    std::cout << piece << std::flush;
    return true;
  });
  std::cout << "\n[finished: " << qwen35::to_string(reply.finish_reason) << "]\n";
}

}  // namespace

int main(int argc, char** argv) try {
  auto chat = qwen35::Chat::from_pretrained(argc > 1 ? argv[1] : "mini");
  pull(chat);
  push(chat);
  cancel(chat);
} catch (const qwen35::Error& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
