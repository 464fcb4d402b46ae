#pragma once

#include <qwen35/chat.h>
#include <qwen35/options.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/token.h"
#include "chat/batcher.h"
#include "chat/grammars.h"
#include "text/tokenizer.h"

namespace qwen35 {

/// The tokens that shape a reply, looked up in a tokenizer by their text.
struct ControlTokens {
  explicit ControlTokens(const Tokenizer& tokenizer);  ///< throws bad_file naming the one that is missing

  TokenId im_start = 0;    ///< <|im_start|>: a message begins
  TokenId im_end = 0;      ///< <|im_end|>: the turn is over
  TokenId endoftext = 0;   ///< <|endoftext|>: likewise, seen after documents
  TokenId think = 0;       ///< <think>
  TokenId think_end = 0;   ///< </think>
  TokenId tool_call = -1;  ///< <tool_call>; -1: plain characters in this vocabulary
  TokenId tool_call_end = -1;
  std::vector<TokenId> close_thinking;       ///< "\n</think>\n\n": what a model writes when it has thought enough
  std::vector<TokenId> blank_line;           ///< "\n\n": what stands between </think> and the answer
  std::vector<TokenId> close_thinking_line;  ///< the same after a newline: "</think>\n\n"
};

/// A loaded model: everything that unload() frees, but for the sessions. Conversations share it.
struct Model {
  /// Throws bad_file when vocabulary and backend do not fit, invalid_argument when `context` exceeds the model's.
  Model(Tokenizer tokenizer, std::unique_ptr<Backend> backend, ModelInfo info, std::size_t context);

  Tokenizer tokenizer;
  const std::unique_ptr<Backend> backend;
  ControlTokens control;
  std::size_t vocabulary;  ///< ids a reply may hold: logits past the tokenizer's are padding
  ModelInfo info;
  /// Of the checkpoint's shapes and a sample of its weights: what a stored session must match. 0: not known.
  std::uint64_t fingerprint = 0;
  Grammars grammars;
  Batcher batcher;  ///< of all sessions over the backend

  [[nodiscard]] std::size_t memory_bytes() const { return backend->memory_bytes() + tokenizer.memory_bytes(); }
};

/// Makes the model anew each time it is called: from_pretrained() and reload().
using ModelLoader = std::function<std::unique_ptr<Model>()>;

/// Reads config, weights and tokenizer of `folder`. Throws not_found, bad_file, unsupported or invalid_argument.
/// `wrap` may put another backend around it, for measurements.
using BackendWrapper = std::function<std::unique_ptr<Backend>(std::unique_ptr<Backend>)>;
std::unique_ptr<Model> load_model(const std::filesystem::path& folder, const LoadOptions& options,
                                  const BackendWrapper& wrap = {});

}  // namespace qwen35
