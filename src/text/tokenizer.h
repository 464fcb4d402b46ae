#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"

namespace qwen35 {

/// Text with the places where control tokens may stand. Bytes outside `control` ranges come from users or tools: added
/// tokens spelled there are plain characters. An added token is recognised only where it lies wholly inside one control
/// range.
struct PromptText {
  struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::string text;
  std::vector<Range> control;  ///< sorted, disjoint, adjacent ranges merged

  void append_control(std::string_view piece);
  void append_plain(std::string_view piece);
  /// Appends bytes [begin, end) of `source` with their control ranges.
  void append_part(const PromptText& source, std::size_t begin, std::size_t end);
};

/// Byte-level BPE as tokenizer.json describes it: added tokens, NFC, split regex, byte alphabet, merges by rank. Ids
/// equal Hugging Face `tokenizers`. Immutable after loading: const calls may run from many threads at once.
class Tokenizer {
 public:
  /// Throws not_found or bad_file (malformed, ids out of range or twice, merges of unknown tokens, unsupported parts by
  /// name).
  static Tokenizer from_file(const std::filesystem::path& tokenizer_json);
  static Tokenizer from_json(std::string_view json, std::string_view source);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Everything is plain text: no added token is produced. Ill-formed UTF-8 is read as U+FFFD.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text) const;
  /// Added tokens are recognised inside the prompt's control ranges only.
  [[nodiscard]] std::vector<TokenId> encode(const PromptText& prompt) const;
  /// Added tokens are recognised everywhere: for trusted text only.
  [[nodiscard]] std::vector<TokenId> encode_with_special(std::string_view text) const;

  /// The bytes of the ids, concatenated: may be cut inside a character. Ids out of range throw invalid_argument.
  [[nodiscard]] std::string decode(std::span<const TokenId> ids, bool skip_special = false) const;
  /// The bytes of one token (an added token: its text); valid as long as the tokenizer. Unused ids give "".
  [[nodiscard]] std::string_view token_bytes(TokenId id) const;
  /// The id of an added token by its text.
  [[nodiscard]] std::optional<TokenId> added_token(std::string_view text) const;
  [[nodiscard]] bool is_added(TokenId id) const;
  /// One more than the largest id.
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen35
