// Bytes as a tokenizer.json, and as text for a good one: encoding is repeatable, plain text yields no added token, and
// what is decoded is the normalised text.

#include <qwen35/error.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace {

const qwen35::Tokenizer& tiny() {
  static const auto tokenizer = qwen35::Tokenizer::from_file(QWEN35_TEST_DATA "/text/tiny_tokenizer.json");
  return tokenizer;
}

void require(bool holds) {
  if (!holds) std::abort();
}

void encode_all(const qwen35::Tokenizer& tokenizer, std::string_view text) {
  for (const qwen35::TokenId id : tokenizer.encode(text)) require(!tokenizer.is_added(id));
  (void)tokenizer.decode(tokenizer.encode_with_special(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  require(tiny().decode(tiny().encode(bytes)) == qwen35::to_nfc(qwen35::to_valid_utf8(bytes)));
  encode_all(tiny(), bytes);
  if (!bytes.empty()) {
    // The first byte says where a control range lies.
    const std::size_t middle = size * data[0] / 256;
    qwen35::PromptText prompt;
    prompt.append_plain(bytes.substr(0, middle));
    prompt.append_control(bytes.substr(middle));
    (void)tiny().decode(tiny().encode(prompt));
  }
  try {
    encode_all(qwen35::Tokenizer::from_json(bytes, "fuzz"), "Hello, world! <|im_end|> caf\u00E9 12\n");
  } catch (const qwen35::Error&) {
    // The only way out for a bad file.
  }
  return 0;
}
