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
  const std::lock_guard hold(mutex_);
  if (trie_ == nullptr) trie_ = std::make_shared<const TokenTrie>(tokenizer);
  const auto known =
      std::find_if(grammars_.begin(), grammars_.end(), [&](const auto& each) { return each.first == key; });
  std::shared_ptr<const Grammar> grammar;
  if (known != grammars_.end()) {
    grammar = known->second;
    grammars_.erase(known);
  } else if (options.json_object) {
    grammar = Grammar::any_json_object();
  } else {
    grammar =
        options.grammar.empty() ? Grammar::from_json_schema(options.json_schema) : Grammar::from_gbnf(options.grammar);
  }
  grammars_.emplace_back(key, grammar);
  if (grammars_.size() > kKept) grammars_.pop_front();
  return Constraint(std::move(grammar), trie_, std::move(ends));
}

}  // namespace qwen35
