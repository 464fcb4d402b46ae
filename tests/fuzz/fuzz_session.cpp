// The session file reader on arbitrary bytes: refused with an Error, or a conversation that can be gone on with.
// Half of the inputs get a header with the right sizes and checksums, so that what stands behind it is reached.

#include <qwen35/error.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "chat/fakes.h"
#include "chat/session_file.h"

namespace {

using namespace qwen35;

const Model& model() {
  static const Model model(Tokenizer::from_json(testing_doubles::byte_tokenizer_json(), "bytes"),
                           testing_doubles::make_fake_backend(std::make_shared<testing_doubles::Stage>()), ModelInfo{},
                           10000);
  return model;
}

void parse(std::span<const std::byte> bytes) {
  try {
    const SessionFile::Loaded loaded = SessionFile::parse(bytes, "fuzz", model());
    if (loaded.snapshot && loaded.snapshot->position() != loaded.tokens.size()) std::abort();
    const GenerateOptions options = testing_doubles::greedy();
    static_cast<void>(loaded.conversation.next_turn(model().tokenizer, "Hi", options, model().info.context));
  } catch (const Error&) {
    // refused, as it should be
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (size < 3 || data[0] % 2 == 0) {
    parse(bytes);
    return 0;
  }
  // Byte 1: how many tokens and byte 2: how many of them in a snapshot; the rest is the description.
  const std::size_t tokens = data[1] % 16U;
  const std::size_t snapshot = data[2] % 16U;
  const std::size_t binary = (tokens + snapshot) * sizeof(TokenId);
  if (size < 3 + binary) return 0;
  parse(SessionFile::with_header(bytes.subspan(3), size - 3 - binary, tokens * sizeof(TokenId)));
  return 0;
}
