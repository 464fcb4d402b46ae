#include "chat/grammars.h"

#include <qwen35/error.h>

#include <algorithm>

namespace qwen35 {

std::optional<Constraint> Grammars::constraint(const GenerateOptions& options, const Tokenizer& tokenizer,
                                               std::vector<TokenId> ends) {
  const int asked =
      (options.json_schema.empty() ? 0 : 1) + (options.json_object ? 1 : 0) + (options.grammar.empty() ? 0 : 1);
  if (asked == 0) return std::nullopt;
  if (asked > 1) {
    throw Error(ErrorCode::invalid_argument,
                "more than one of json_schema, json_object and grammar is given; an answer can follow one form only");
  }
  const std::string key = options.json_object       ? "object"
                          : options.grammar.empty() ? "schema " + options.json_schema
                                                    : "gbnf " + options.grammar;
  return Constraint(find(key,
                         [&] {
                           if (options.json_object) return Grammar::any_json_object();
                           return options.grammar.empty() ? Grammar::from_json_schema(options.json_schema)
                                                          : Grammar::from_gbnf(options.grammar);
                         }),
                    trie(tokenizer), std::move(ends));
}

Constraint Grammars::follow(const std::string& gbnf, const Tokenizer& tokenizer) {
  return Constraint(find("gbnf " + gbnf, [&] { return Grammar::from_gbnf(gbnf); }), trie(tokenizer));
}

/// The grammar kept as `key`, or a new one.
template <typename Compile>
std::shared_ptr<const Grammar> Grammars::find(const std::string& key, const Compile& compile) {
  const auto is_key = [&](const auto& each) { return each.first == key; };
  {
    const std::lock_guard hold(mutex_);
    const auto known = std::find_if(grammars_.begin(), grammars_.end(), is_key);
    if (known != grammars_.end()) {
      std::rotate(known, known + 1, grammars_.end());
      return grammars_.back().second;
    }
  }
  std::shared_ptr<const Grammar> grammar = compile();
  const std::lock_guard hold(mutex_);
  const auto known = std::find_if(grammars_.begin(), grammars_.end(), is_key);
  if (known != grammars_.end()) return known->second;  // somebody else was faster
  grammars_.emplace_back(key, grammar);
  if (grammars_.size() > kKept) grammars_.pop_front();
  return grammar;
}

std::shared_ptr<const TokenTrie> Grammars::trie(const Tokenizer& tokenizer) {
  const std::lock_guard hold(trie_mutex_);
  if (trie_ == nullptr) trie_ = std::make_shared<const TokenTrie>(tokenizer);
  return trie_;
}

}  // namespace qwen35
