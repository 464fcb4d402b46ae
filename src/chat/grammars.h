#pragma once

#include <qwen35/options.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/token.h"
#include "constraint/constraint.h"
#include "text/tokenizer.h"

namespace qwen35 {

/// The grammars that replies over one vocabulary were asked to follow. Compiled ones are kept, the latest kKept of
/// them, with the masks that were found for them. Thread-safe; compiling one holds nobody up.
class Grammars {
 public:
  static constexpr std::size_t kKept = 8;

  /// The constraint that `options` ask for; nullopt: none. `ends`: the tokens that end a reply. Throws invalid_argument
  /// for a schema or grammar that is not understood, or more than one of them.
  std::optional<Constraint> constraint(const GenerateOptions& options, const Tokenizer& tokenizer,
                                       std::vector<TokenId> ends);
  /// One that follows a grammar in GBNF and has no tokens to end with.
  Constraint follow(const std::string& gbnf, const Tokenizer& tokenizer);

 private:
  template <typename Compile>
  std::shared_ptr<const Grammar> find(const std::string& key, const Compile& compile);
  std::shared_ptr<const TokenTrie> trie(const Tokenizer& tokenizer);

  std::mutex trie_mutex_;  ///< making one takes a tenth of a second
  std::mutex mutex_;
  std::shared_ptr<const TokenTrie> trie_;
  std::deque<std::pair<std::string, std::shared_ptr<const Grammar>>> grammars_;  ///< the latest last
};

}  // namespace qwen35
