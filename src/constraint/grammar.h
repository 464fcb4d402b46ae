#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace qwen35 {

class TokenTrie;
namespace constraint {
struct Automaton;
class Machine;
}  // namespace constraint

/// What a reply may be: a set of texts, compiled to automata over bytes. Immutable; any thread may use it.
/// docs/constrained-output.md says which schemas and grammars are understood. Everything else is refused, never passed
/// over: the makers throw invalid_argument with the place, what was found there and what is supported.
class Grammar {
 public:
  /// Compact JSON that is valid under a JSON Schema.
  static std::shared_ptr<const Grammar> from_json_schema(std::string_view schema);
  /// Any JSON object.
  static std::shared_ptr<const Grammar> any_json_object();
  /// A grammar in GBNF, the form that llama.cpp's users know. The text is made by the rule `root`.
  static std::shared_ptr<const Grammar> from_gbnf(std::string_view grammar);

  explicit Grammar(std::shared_ptr<const constraint::Automaton> automaton);
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  [[nodiscard]] const constraint::Automaton& automaton() const { return *automaton_; }
  [[nodiscard]] std::size_t memory_bytes() const;
  /// The grammar over a vocabulary, with the masks found so far: made once, kept for the last two vocabularies.
  [[nodiscard]] std::shared_ptr<constraint::Machine> machine(const std::shared_ptr<const TokenTrie>& trie) const;

 private:
  std::shared_ptr<const constraint::Automaton> automaton_;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<constraint::Machine>> machines_;
};

}  // namespace qwen35
