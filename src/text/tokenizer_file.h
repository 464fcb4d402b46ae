#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.h"
#include "text/bpe.h"

namespace qwen35 {

/// What a tokenizer.json says, checked, with its strings resolved to bytes and ids.
struct TokenizerFile {
  struct AddedToken {
    std::string content;
    TokenId id;
    bool special;     ///< left out by decode(skip_special)
    bool normalized;  ///< looked for after normalisation instead of before
  };

  std::string split_regex;
  bool nfc = false;
  std::vector<AddedToken> added_tokens;
  std::string bytes;                   ///< the bytes of all tokens, in order of their ids
  std::vector<std::uint32_t> offsets;  ///< of each id in `bytes`, and the end
  Bpe bpe;
};

/// Throws bad_file for a malformed file and unsupported, by name, for parts that no Qwen tokenizer has. `source` names
/// the file in messages. Truncation and padding are the caller's business and are ignored.
TokenizerFile read_tokenizer_file(std::string_view json, const std::string& source);

}  // namespace qwen35
