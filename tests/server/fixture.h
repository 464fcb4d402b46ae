#pragma once

#include <gtest/gtest.h>
#include <qwen35/chat.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/client.h"
#include "server/server.h"

namespace qwen35::server {

/// A server over the bundled model, whose log is kept.
class ServerTest : public testing::Test {
 protected:
  static Chat& model() {
    static Chat chat = Chat::from_pretrained("mini", {.threads = 2, .context = 4096});
    return chat;
  }

  ServerTest() {
    options_.port = 0;
    ServiceOptions& service = options_.service;
    service.model = "mini";
    service.aliases = {"other-name"};
    service.version = "test";
    service.defaults.enable_thinking = false;
    service.defaults.temperature = 0;
    service.defaults.loop_guard = false;
    service.parallel = 4;
    service.log = [this](std::string_view line) {
      const std::lock_guard hold(mutex_);
      log_ += line;
    };
  }

  /// Listens, with the model unless `ready` is false.
  void start(bool ready = true) {
    server_ = std::make_unique<Server>(options_);
    if (ready) server_->serve(std::make_unique<Engine>(model().fork(), MemoryPlan{1000, 200, 30}));
  }
  [[nodiscard]] int port() const { return server_->port(); }
  std::string log() {
    const std::lock_guard hold(mutex_);
    return log_;
  }

  static std::string chat_body(std::string_view prompt, int max_tokens, std::string_view more = {}) {
    return "{\"messages\":[{\"role\":\"user\",\"content\":\"" + std::string(prompt) +
           "\"}],\"max_tokens\":" + std::to_string(max_tokens) + std::string(more) + "}";
  }
  /// A request whose answer takes thousands of tokens: the tokens that would end it are banned.
  static std::string endless(std::string_view more = {}) {
    static const std::string kBias = [] {
      std::string text = ",\"logit_bias\":{";
      for (const std::string_view name : {"<|im_end|>", "<|endoftext|>"})
        text += "\"" + std::to_string(model().tokenize(name, true).at(0)) + "\":-100,";
      text.back() = '}';
      return text;
    }();
    return chat_body("Tell me a long story.", 4000, kBias + std::string(more));
  }

  /// The value of a line of /metrics; -1: there is no such line.
  [[nodiscard]] double metric(const std::string& name) const {
    const std::string text = body_of(get(port(), "/metrics"));
    const std::size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
  /// Waits until `true_now` holds; fails after 20 s.
  static void eventually(const std::function<bool()>& true_now) {
    for (int i = 0; i < 2000; ++i) {
      if (true_now()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "what was waited for did not come";
  }

  std::mutex mutex_;
  std::string log_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

}  // namespace qwen35::server
