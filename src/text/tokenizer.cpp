#include "text/tokenizer.h"

#include <qwen35/error.h>

#include <algorithm>

#include "base/mapped_file.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/splitter.h"
#include "text/tokenizer_file.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

// Normalisation can triple a text and positions in a word have 32 bits.
constexpr std::size_t text_size_limit = std::size_t{1} << 30;

}  // namespace

struct Tokenizer::Impl {
  class Encoding;

  Impl(TokenizerFile file, const std::string& source)
      : bytes(std::move(file.bytes)),
        offsets(std::move(file.offsets)),
        bpe(std::move(file.bpe)),
        splitter(file.split_regex, source),
        nfc(file.nfc),
        added(offsets.size() - 1, false),
        special(offsets.size() - 1, false) {
    for (const auto& token : file.added_tokens) {
      added[static_cast<std::size_t>(token.id)] = true;
      special[static_cast<std::size_t>(token.id)] = token.special;
      all_added.add(token.content, token.id);
      if (token.normalized) {
        added_after_nfc.add(nfc ? to_nfc(token.content) : token.content, token.id);
      } else {
        added_before_nfc.add(token.content, token.id);
      }
    }
    for (auto* matcher : {&all_added, &added_before_nfc, &added_after_nfc}) matcher->finish();
  }

  std::string bytes;
  std::vector<std::uint32_t> offsets;
  Bpe bpe;
  Splitter splitter;
  bool nfc;
  std::vector<bool> added;
  std::vector<bool> special;
  AddedTokenMatcher all_added;
  AddedTokenMatcher added_before_nfc;
  AddedTokenMatcher added_after_nfc;

  std::string_view token(std::size_t id) const {
    return std::string_view(bytes).substr(offsets[id], offsets[id + 1] - offsets[id]);
  }

  std::size_t checked(TokenId id) const {
    const std::size_t size = offsets.size() - 1;
    if (id < 0 || static_cast<std::size_t>(id) >= size) {
      throw Error(ErrorCode::invalid_argument,
                  "token id " + std::to_string(id) + " is not in the vocabulary of " + std::to_string(size) + " ids");
    }
    return static_cast<std::size_t>(id);
  }
};

/// One call's encoding: the ids so far and the working memory.
class Tokenizer::Impl::Encoding {
 public:
  Encoding(const Impl& tokenizer, std::size_t text_size) : t_(tokenizer) {
    if (text_size > text_size_limit) {
      throw Error(ErrorCode::invalid_argument, "a text of " + std::to_string(text_size) +
                                                   " bytes is too long; at most " + std::to_string(text_size_limit) +
                                                   " can be encoded at once");
    }
    ids.reserve(text_size / 3 + 4);
  }

  /// Text between added tokens, any bytes.
  void plain(std::string_view text) {
    if (!text.empty()) words(normalized(text));
  }

  /// As plain(), with the added tokens that are looked for after normalisation.
  void plain_but_added_after_nfc(std::string_view text) {
    if (t_.added_after_nfc.empty()) return plain(text);
    const std::string whole = normalized(text);
    std::size_t pos = 0;
    while (const auto match = t_.added_after_nfc.find(whole, pos, whole.size())) {
      words(std::string_view(whole).substr(pos, match->begin - pos));
      ids.push_back(match->id);
      pos = match->end;
    }
    words(std::string_view(whole).substr(pos));
  }

  std::vector<TokenId> ids;

 private:
  std::string normalized(std::string_view text) const {
    std::string valid = to_valid_utf8(text);
    return t_.nfc ? to_nfc(std::move(valid)) : valid;
  }

  void words(std::string_view well_formed) {
    t_.splitter.split(well_formed, [this](std::string_view word) { t_.bpe.encode(word, ids, scratch_); });
  }

  const Impl& t_;
  Bpe::Scratch scratch_;
};

namespace {

void check_ranges(const PromptText& prompt) {
  std::size_t behind = 0;
  for (const PromptText::Range& range : prompt.control) {
    if (range.begin < behind || range.end < range.begin || range.end > prompt.text.size()) {
      throw Error(ErrorCode::invalid_argument,
                  "control range " + std::to_string(range.begin) + ".." + std::to_string(range.end) +
                      " is out of order or outside a text of " + std::to_string(prompt.text.size()) + " bytes");
    }
    behind = range.end;
  }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_file(const std::filesystem::path& tokenizer_json) {
  const MappedFile file(tokenizer_json);
  const auto bytes = file.bytes();
  return from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, tokenizer_json.string());
}

Tokenizer Tokenizer::from_json(std::string_view json, std::string_view source) {
  const std::string name(source);
  return Tokenizer(std::make_unique<Impl>(read_tokenizer_file(json, name), name));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  Impl::Encoding encoding(*impl_, text.size());
  encoding.plain(text);
  return std::move(encoding.ids);
}

std::vector<TokenId> Tokenizer::encode(const PromptText& prompt) const {
  check_ranges(prompt);
  const std::string_view text = prompt.text;
  Impl::Encoding encoding(*impl_, text.size());
  std::size_t pos = 0;  // behind the last added token
  for (const PromptText::Range& range : prompt.control) {
    std::size_t from = range.begin;
    while (const auto match = impl_->all_added.find(text, from, range.end)) {
      encoding.plain(text.substr(pos, match->begin - pos));
      encoding.ids.push_back(match->id);
      pos = from = match->end;
    }
  }
  encoding.plain(text.substr(pos));
  return std::move(encoding.ids);
}

std::vector<TokenId> Tokenizer::encode_with_special(std::string_view text) const {
  Impl::Encoding encoding(*impl_, text.size());
  std::size_t pos = 0;
  while (const auto match = impl_->added_before_nfc.find(text, pos, text.size())) {
    encoding.plain_but_added_after_nfc(text.substr(pos, match->begin - pos));
    encoding.ids.push_back(match->id);
    pos = match->end;
  }
  encoding.plain_but_added_after_nfc(text.substr(pos));
  return std::move(encoding.ids);
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string out;
  for (const TokenId id : ids) {
    const std::size_t index = impl_->checked(id);
    if (!skip_special || !impl_->special[index]) out.append(impl_->token(index));
  }
  return out;
}

std::string_view Tokenizer::token_bytes(TokenId id) const { return impl_->token(impl_->checked(id)); }

std::optional<TokenId> Tokenizer::added_token(std::string_view text) const { return impl_->all_added.exact(text); }

bool Tokenizer::is_added(TokenId id) const { return impl_->added[impl_->checked(id)]; }

std::size_t Tokenizer::size() const { return impl_->offsets.size() - 1; }

std::size_t Tokenizer::memory_bytes() const {
  return sizeof(Impl) + impl_->bytes.capacity() + impl_->offsets.capacity() * sizeof(std::uint32_t) +
         impl_->bpe.memory_bytes() + (impl_->added.capacity() + impl_->special.capacity()) / 8 +
         impl_->all_added.memory_bytes() + impl_->added_before_nfc.memory_bytes() +
         impl_->added_after_nfc.memory_bytes();
}

}  // namespace qwen35
