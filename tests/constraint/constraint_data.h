#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "constraint/constraint.h"
#include "constraint/token_trie.h"
#include "text/text_data.h"
#include "text/tokenizer.h"

namespace qwen35::test {

/// A vocabulary for tests: a tree and the id that ends a reply.
struct Vocabulary {
  std::shared_ptr<const TokenTrie> trie;
  std::size_t size = 0;
  TokenId end = 0;
};

/// All single bytes, pieces of JSON, words of several bytes, and an end.
inline Vocabulary small_vocabulary() {
  auto tokens = std::make_shared<std::vector<std::string>>();
  for (int b = 0; b < 256; ++b) tokens->push_back(std::string(1, static_cast<char>(b)));
  for (const char* piece : {"{\"",        "\":",      "\": ",     "\",\"",
                            "\", \"",     "\"}",      "\"},",     "}}",
                            "}}}",        "]}",       "}]",       "[]",
                            "{}",         "],[",      "[[",       "[[[[[[[[",
                            "\"]",        "\"],",     ", ",       "true",
                            "false",      "null",     "tr",       "name",
                            "value",      "next",     "the",      " the",
                            " and",       "an",       "ab",       "abc",
                            "12",         "123",      "000",      "0.",
                            ".5",         "e+",       "\\u",      "\\ud8",
                            "\\n",        "\xC3\xA9", "\xE2\x82", "\xF0\x9F\x98\x80",
                            "\x98\x80\"", "red",      "re",       "\"red",
                            "\"green\"",  "-1",       "-",        "20",
                            "2024-",      "-02-",     "29",       "T0",
                            ":0"}) {
    tokens->push_back(piece);
  }
  tokens->push_back("");  // the end: a token without bytes
  const std::size_t size = tokens->size();
  return {std::make_shared<const TokenTrie>(
              size, [tokens](TokenId id) { return std::string_view((*tokens)[static_cast<std::size_t>(id)]); }),
          size, static_cast<TokenId>(size - 1)};
}

inline Vocabulary of(const Tokenizer& tokenizer) {
  return {std::make_shared<const TokenTrie>(tokenizer), tokenizer.size(), tokenizer.added_token("<|im_end|>").value()};
}

inline Vocabulary mini_vocabulary() {
  return of(Tokenizer::from_file(std::filesystem::path(QWEN35_SOURCE_MODELS) / "qwen35-mini/tokenizer.json"));
}

/// Where the real tokenizer is, or "" with a word on the console.
inline bool has_real_vocabulary() { return std::filesystem::exists(shared_path("tokenizer/tokenizer.json.xz")); }
inline Vocabulary real_vocabulary() {
  return of(Tokenizer::from_json(read_xz(shared_path("tokenizer/tokenizer.json.xz")), "tokenizer.json"));
}

inline std::vector<float> random_logits(std::size_t size, std::mt19937_64& random) {
  std::vector<float> logits(size);
  std::uint64_t x = random() | 1;
  for (float& logit : logits) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    logit = static_cast<float>(x >> 40) * 0x1p-24F;
  }
  return logits;
}

/// Whether a whole text belongs to a grammar, byte by byte.
inline bool matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  static const Vocabulary bytes = small_vocabulary();
  Constraint constraint(grammar, bytes.trie);
  return constraint.accept_bytes(text) && constraint.can_end();
}

}  // namespace qwen35::test
