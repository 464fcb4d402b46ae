#pragma once

#include <qwen35/chat.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "chat/chat_core.h"
#include "text/tokenizer.h"

namespace qwen35::testing_doubles {

/// tokenizer.json of a byte-level vocabulary without merges: the id of a byte is its value, control tokens follow.
std::string byte_tokenizer_json();
/// The text of tokens of that vocabulary, control tokens included.
std::string text_of(std::span<const TokenId> tokens);
/// The first token of `text` in that vocabulary, control tokens recognised.
TokenId first_token(std::string_view text);

/// What a test sees and steers of the FakeBackends that one Chat loads.
struct Stage {
  /// What the model would write after each "<|im_start|>assistant\n", the first turn first, "<think>\n" included. Where
  /// </think> came earlier than it wanted, it goes on with what follows its own </think>; past the end it says
  /// <|im_end|>.
  std::vector<std::string> script;
  std::function<void()> on_forward = [] {};  ///< before each pass; may throw or cancel
  std::size_t vocab_size = 300;              ///< some of it padding past the tokenizer's
  std::size_t max_positions = 100000;
  std::size_t max_verify = 1;  ///< above 1: guesses are made and checked

  bool samples = false;     ///< it chooses tokens itself where it is asked to
  std::size_t sampled = 0;  ///< that it has chosen, guesses apart
  std::size_t guessed = 0;  ///< verification passes of which it has chosen the tokens

  std::vector<std::size_t> passes;                     ///< tokens of each pass
  std::set<std::pair<std::size_t, std::size_t>> cuts;  ///< of so many verified tokens so many were kept, not all
  std::vector<TokenId> history;                        ///< what the state holds
  std::size_t resets = 0;
  std::size_t snapshots = 0;
  std::size_t restores = 0;
  std::size_t loads = 0;
  int alive = 0;  ///< backends that exist

  [[nodiscard]] std::string text() const { return text_of(history); }
  [[nodiscard]] std::size_t fed() const;
  void clear_counts() {
    passes.clear();
    resets = 0;
  }
};

/// Writes its script: the next token follows from everything the state holds, so a token lost or fed twice shows. All
/// other logits are noise drawn from a hash of the history.
std::unique_ptr<Backend> make_fake_backend(std::shared_ptr<Stage> stage);

/// A Chat over a FakeBackend and the byte vocabulary.
Chat make_chat(std::shared_ptr<Stage> stage, std::size_t context = 0);

/// Greedy, no penalty, no thinking unless asked for.
GenerateOptions greedy(bool thinking = false);

}  // namespace qwen35::testing_doubles
