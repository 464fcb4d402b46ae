#pragma once

#include <string>
#include <string_view>

namespace qwen35 {

/// The settings of a tokenizer.json beside its vocabulary: what of them Qwen's tokenizers use, and a refusal by name
/// (Error, unsupported) of everything else.
struct TokenizerSettings {
  std::string split_regex;
  bool nfc = false;

  /// One of normalizer, pre_tokenizer, post_processor, decoder, as JSON text of an object.
  void set_part(std::string_view name, std::string_view json, const std::string& source);
  /// A plain member of "model", as the JSON token it is.
  void set_model(std::string_view name, std::string_view json_token, const std::string& source) const;
  /// Once all is read: what must be there is there.
  void check(const std::string& source) const;
};

}  // namespace qwen35
