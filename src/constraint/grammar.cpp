#include "constraint/grammar.h"

#include <algorithm>

#include "constraint/gbnf.h"
#include "constraint/json_schema.h"
#include "constraint/json_values.h"
#include "constraint/machine.h"

namespace qwen35 {
namespace {

std::shared_ptr<const Grammar> compiled(const constraint::Expressions& expressions, constraint::RuleId root) {
  return std::make_shared<const Grammar>(
      std::make_shared<const constraint::Automaton>(constraint::compile(expressions, root)));
}

}  // namespace

Grammar::Grammar(std::shared_ptr<const constraint::Automaton> automaton) : automaton_(std::move(automaton)) {}
Grammar::~Grammar() = default;

std::shared_ptr<const Grammar> Grammar::from_json_schema(std::string_view schema) {
  constraint::Expressions expressions;
  const constraint::RuleId root = constraint::read_json_schema(schema, expressions);
  return compiled(expressions, root);
}

std::shared_ptr<const Grammar> Grammar::any_json_object() {
  constraint::Expressions expressions;
  constraint::JsonValues values(expressions);
  const constraint::RuleId root = expressions.add_rule("json object");
  expressions.define(root, values.any_object());
  return compiled(expressions, root);
}

std::shared_ptr<const Grammar> Grammar::from_gbnf(std::string_view grammar) {
  constraint::Expressions expressions;
  const constraint::RuleId root = constraint::read_gbnf(grammar, expressions);
  return compiled(expressions, root);
}

std::size_t Grammar::memory_bytes() const {
  std::size_t bytes = sizeof(*this) + automaton_->memory_bytes();
  const std::scoped_lock lock(mutex_);
  for (const auto& machine : machines_) bytes += machine->cached_bytes();
  return bytes;
}

std::shared_ptr<constraint::Machine> Grammar::machine(const std::shared_ptr<const TokenTrie>& trie) const {
  const std::scoped_lock lock(mutex_);
  for (const auto& machine : machines_) {
    if (&machine->trie() == trie.get()) return machine;
  }
  constexpr std::size_t kept = 2;
  if (machines_.size() >= kept) machines_.erase(machines_.begin());
  machines_.push_back(std::make_shared<constraint::Machine>(automaton_, trie));
  return machines_.back();
}

}  // namespace qwen35
