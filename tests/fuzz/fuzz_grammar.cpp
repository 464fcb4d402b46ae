// Bytes as a JSON Schema and as a GBNF grammar: an Error, or a grammar whose replies end within every budget: some
// steps of tokens that the mask leaves, then the shortest ending. For a schema the text is JSON.

#include <qwen35/error.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "constraint/constraint.h"

namespace {

using namespace qwen35;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr TokenId kEnd = 259;

std::shared_ptr<const TokenTrie> trie() {
  static const auto built = std::make_shared<const TokenTrie>(260, [](TokenId id) -> std::string_view {
    static const std::string bytes = [] {
      std::string all;
      for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
      return all;
    }();
    if (id < 256) return std::string_view(bytes).substr(static_cast<std::size_t>(id), 1);
    if (id == kEnd) return {};
    constexpr std::array<std::string_view, 3> longer = {"\": ", "\"}", "[[\""};
    return longer[static_cast<std::size_t>(id - 256)];
  });
  return built;
}

void run(const std::shared_ptr<const Grammar>& grammar, std::size_t seed, bool json) {
  Constraint constraint(grammar, trie(), {kEnd});
  std::string text;
  std::size_t budget = constraint.ending_size() + 12;
  if (budget > 5000) return;
  for (int step = 0; step < 12; ++step, --budget) {
    std::vector<float> logits(260, 0.0F);
    constraint.mask(logits, budget);
    std::vector<TokenId> legal;
    for (TokenId id = 0; id < 260; ++id) {
      require(std::isfinite(logits[static_cast<std::size_t>(id)]) == constraint.allows(id, budget));
      if (id != kEnd && std::isfinite(logits[static_cast<std::size_t>(id)])) legal.push_back(id);
    }
    require(!legal.empty() || constraint.can_end());
    if (legal.empty()) break;
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    const TokenId token = legal[(seed >> 33) % legal.size()];
    require(constraint.accept(token));
    text += trie()->bytes(token);
    require(constraint.ending_size() + 1 <= budget);
  }
  for (const TokenId token : constraint.shortest_ending()) {
    require(constraint.accept(token));
    text += trie()->bytes(token);
  }
  require(constraint.can_end());
  if (json) require(nlohmann::json::accept(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    run(Grammar::from_json_schema(bytes), size, true);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::invalid_argument);
  }
  try {
    run(Grammar::from_gbnf(bytes), size, false);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::invalid_argument);
  }
  return 0;
}
