#include "text/tokenizer_file.h"

#include <qwen35/error.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "text/added_tokens.h"
#include "text/tokenizer_settings.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

namespace qwen35 {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::int64_t id_limit = 1 << 22;  // sixteen times Qwen3.5's vocabulary

struct RawToken {
  std::string_view text;
  std::int64_t id;
};

/// GPT-2's byte alphabet: printable bytes of Latin-1 stand for themselves, the others for U+0100 and up in order.
struct ByteAlphabet {
  static constexpr std::size_t code_points = 324;
  std::array<char32_t, 256> of_byte{};
  std::array<std::int16_t, code_points> to_byte{};

  ByteAlphabet() {
    to_byte.fill(-1);
    char32_t next = 256;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      of_byte[byte] = printable ? static_cast<char32_t>(byte) : next++;
      to_byte[of_byte[byte]] = static_cast<std::int16_t>(byte);
    }
  }

  /// Appends the bytes that `text` stands for; text with a character outside the alphabet stands for itself.
  void append_bytes(std::string& out, std::string_view text) const {
    const std::size_t before = out.size();
    for (std::size_t pos = 0; pos < text.size();) {
      const char32_t c = next_code_point(text, pos);
      if (c >= code_points || to_byte[c] < 0) {
        out.resize(before);
        out.append(text);
        return;
      }
      out.push_back(static_cast<char>(to_byte[c]));
    }
  }
};

std::string shown(std::string_view text) {
  constexpr std::size_t longest = 60;
  return "\"" + std::string(text.substr(0, longest)) + (text.size() > longest ? "…\"" : "\"");
}

class Reader {
 public:
  explicit Reader(const std::string& source) : source_(source) {}

  TokenizerFile read(std::string_view json) {
    const simdjson::padded_string padded(json);
    ondemand::parser parser;
    try {
      read_document(parser, padded);
    } catch (const simdjson::simdjson_error& e) {
      refuse("malformed JSON in " + where_ + ": " + e.what());
    }
    settings_.check(source_);
    TokenizerFile file;
    file.split_regex = settings_.split_regex;
    file.nfc = settings_.nfc;
    build(file);
    return file;
  }

 private:
  [[noreturn]] void refuse(const std::string& message) const {
    throw Error(ErrorCode::bad_file, source_ + ": " + message);
  }

  void once(bool& seen) const {
    if (std::exchange(seen, true)) refuse(where_ + " is given twice");
  }

  void read_document(ondemand::parser& parser, const simdjson::padded_string& padded) {
    ondemand::document document = parser.iterate(padded);
    for (auto field : document.get_object()) {
      const std::string_view key = field.unescaped_key();
      where_ = std::string(key.substr(0, 40));
      if (key == "added_tokens") {
        once(seen_added_);
        read_added_tokens(field.value());
      } else if (key == "model") {
        once(seen_model_);
        read_model(field.value());
      } else if (key == "normalizer" || key == "pre_tokenizer" || key == "post_processor" || key == "decoder") {
        ondemand::value value = field.value();
        if (!value.is_null()) settings_.set_part(key, value.get_object().value().raw_json().value(), source_);
      }
    }
    const char* rest = nullptr;
    if (document.current_location().get(rest) == simdjson::SUCCESS)
      refuse("something follows the end of the JSON document");
    if (!seen_model_) refuse("there is no \"model\"; is this a tokenizer.json?");
  }

  void read_added_tokens(ondemand::value value) {
    for (auto item : value.get_array()) {
      where_ = "added_tokens[" + std::to_string(added_.size()) + "]";
      TokenizerFile::AddedToken token{{}, -1, false, false};
      std::int64_t id = -1;
      bool has_id = false;
      for (auto field : item.get_object()) {
        const std::string_view key = field.unescaped_key();
        if (key == "id") {
          id = field.value().get_int64();
          has_id = true;
        } else if (key == "content") {
          token.content = std::string_view(field.value().get_string());
        } else if (key == "special") {
          token.special = field.value().get_bool();
        } else if (key == "normalized") {
          token.normalized = field.value().get_bool();
        } else if (key == "lstrip" || key == "rstrip" || key == "single_word") {
          if (field.value().get_bool()) {
            throw Error(ErrorCode::unsupported, source_ + ": " + where_ + " has \"" + std::string(key) +
                                                    "\": true; Qwen's tokenizers have only false");
          }
        }
      }
      if (!has_id) refuse(where_ + " has no id");
      if (token.content.empty()) refuse(where_ + " has no content: an empty token would match everywhere");
      if (token.content.size() > AddedTokenMatcher::longest_content) {
        refuse(where_ + " has " + std::to_string(token.content.size()) + " bytes; at most " +
               std::to_string(AddedTokenMatcher::longest_content) + " are allowed");
      }
      token.id = checked_id(id, token.content);
      added_.push_back(std::move(token));
    }
  }

  void read_model(ondemand::value value) {
    bool seen_vocabulary = false;
    bool seen_merges = false;
    for (auto field : value.get_object()) {
      const std::string_view key = field.unescaped_key();
      where_ = "model." + std::string(key.substr(0, 40));
      if (key == "vocab") {
        once(seen_vocabulary);
        for (auto entry : field.value().get_object()) {
          const std::string_view text = entry.unescaped_key();
          tokens_.push_back({text, entry.value().get_int64()});
        }
      } else if (key == "merges") {
        once(seen_merges);
        for (auto item : field.value().get_array()) merges_.push_back(read_merge(item.value()));
      } else {
        ondemand::value setting = field.value();
        const auto type = setting.type().value();
        if (type == ondemand::json_type::object || type == ondemand::json_type::array) {
          throw Error(ErrorCode::unsupported, source_ + ": " + where_ + " is not known to this engine");
        }
        // Quotes and blanks are of no matter to the values that may stand here.
        settings_.set_model(key, setting.raw_json_token(), source_);
      }
    }
    if (!seen_vocabulary || !seen_merges) refuse("model has no vocab or no merges; expected a BPE tokenizer");
  }

  /// Both forms: "left right" and ["left", "right"].
  std::pair<std::string_view, std::string_view> read_merge(ondemand::value item) const {
    if (item.type() == ondemand::json_type::string) {
      const std::string_view text = item.get_string();
      const std::size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        refuse("merge " + std::to_string(merges_.size()) + " " + shown(text) + " is not two tokens and one space");
      }
      return {text.substr(0, space), text.substr(space + 1)};
    }
    std::array<std::string_view, 2> sides;
    std::size_t count = 0;
    for (auto side : item.get_array()) {
      if (count == 2) ++count;
      if (count > 2) break;
      sides[count++] = side.get_string();
    }
    if (count != 2) refuse("merge " + std::to_string(merges_.size()) + " does not hold two tokens");
    return {sides[0], sides[1]};
  }

  TokenId checked_id(std::int64_t id, std::string_view text) const {
    if (id < 0 || id >= id_limit) {
      refuse("token " + shown(text) + " has the id " + std::to_string(id) + "; expected 0 to " +
             std::to_string(id_limit - 1));
    }
    return static_cast<TokenId>(id);
  }

  void build(TokenizerFile& file) {
    const Vocabulary vocabulary = index_tokens();
    place_added_tokens(vocabulary);
    const ByteAlphabet alphabet;
    build_merges(file, vocabulary, alphabet);
    build_bytes(file, alphabet);
    file.added_tokens = std::move(added_);
  }

  Vocabulary index_tokens() {
    Vocabulary vocabulary(tokens_.size());
    std::size_t size = 0;
    for (const RawToken& token : tokens_) {
      const TokenId id = checked_id(token.id, token.text);
      size = std::max(size, static_cast<std::size_t>(id) + 1);
    }
    for (const auto& token : added_) size = std::max(size, static_cast<std::size_t>(token.id) + 1);
    text_of_.resize(size);
    is_added_.resize(size, false);
    for (const RawToken& token : tokens_) {
      std::string_view& text = text_of_[static_cast<std::size_t>(token.id)];
      if (token.text.empty()) refuse("the vocabulary holds an empty token");
      if (!text.empty()) {
        refuse("tokens " + shown(text) + " and " + shown(token.text) + " share the id " + std::to_string(token.id));
      }
      text = token.text;
    }
    std::array<std::string_view, Vocabulary::batch> texts;
    std::array<TokenId, Vocabulary::batch> ids{};
    for (std::size_t first = 0; first < tokens_.size(); first += texts.size()) {
      const std::size_t count = std::min(texts.size(), tokens_.size() - first);
      for (std::size_t i = 0; i < count; ++i) {
        texts[i] = tokens_[first + i].text;
        ids[i] = static_cast<TokenId>(tokens_[first + i].id);
      }
      const std::size_t added = vocabulary.insert(std::span(texts).first(count), std::span(ids).first(count));
      if (added < count) refuse("token " + shown(texts[added]) + " is in the vocabulary twice");
    }
    return vocabulary;
  }

  /// An added token may repeat an entry of the vocabulary, with the same id.
  void place_added_tokens(const Vocabulary& vocabulary) {
    std::unordered_set<std::string_view> contents;
    for (const auto& token : added_) {
      const auto index = static_cast<std::size_t>(token.id);
      const TokenId listed = vocabulary.find(token.content);
      if (listed >= 0 && listed != token.id) {
        refuse("added token " + shown(token.content) + " has the id " + std::to_string(token.id) + ", the vocabulary " +
               "gives it " + std::to_string(listed));
      }
      if (is_added_[index] || (listed < 0 && !text_of_[index].empty()) || !contents.insert(token.content).second) {
        refuse("added token " + shown(token.content) + " repeats a text or the id " + std::to_string(token.id) +
               " of another token");
      }
      is_added_[index] = true;
      text_of_[index] = token.content;
    }
  }

  void build_merges(TokenizerFile& file, const Vocabulary& vocabulary, const ByteAlphabet& alphabet) const {
    file.bpe = Bpe(merges_.size());
    for (std::size_t byte = 0; byte < 256; ++byte) {
      std::string text;
      append_utf8(text, alphabet.of_byte[byte]);
      const TokenId id = vocabulary.find(text);
      if (id < 0) refuse("there is no token " + shown(text) + " for byte " + std::to_string(byte));
      file.bpe.set_byte_token(static_cast<unsigned char>(byte), plain(id));
    }
    std::string joined;
    std::array<std::string_view, Vocabulary::batch> sides;
    std::array<TokenId, Vocabulary::batch> ids{};
    std::size_t expected = 0;  // where merges are learnt, each one's token follows the last one's
    for (std::size_t first = 0; first < merges_.size(); first += sides.size() / 2) {
      const std::size_t count = std::min(sides.size() / 2, merges_.size() - first);
      for (std::size_t i = 0; i < count; ++i) std::tie(sides[2 * i], sides[2 * i + 1]) = merges_[first + i];
      vocabulary.find(std::span(sides).first(2 * count), std::span(ids).first(2 * count));
      for (std::size_t i = 0; i < count; ++i) file.bpe.prefetch(ids[2 * i], ids[2 * i + 1]);
      for (std::size_t i = 0; i < count; ++i) {
        joined.assign(sides[2 * i]).append(sides[2 * i + 1]);
        const bool as_expected = expected < text_of_.size() && text_of_[expected] == joined && !is_added_[expected];
        const TokenId merged = as_expected ? static_cast<TokenId>(expected) : vocabulary.find(joined);
        if (ids[2 * i] < 0 || ids[2 * i + 1] < 0 || merged < 0) {
          refuse_merge(first + i, ids[2 * i] < 0 ? sides[2 * i] : ids[2 * i + 1] < 0 ? sides[2 * i + 1] : joined);
        }
        file.bpe.add_merge(ids[2 * i], ids[2 * i + 1], static_cast<std::uint32_t>(first + i), plain(merged));
        expected = static_cast<std::size_t>(merged) + 1;
      }
    }
  }

  [[noreturn]] void refuse_merge(std::size_t rank, std::string_view missing) const {
    refuse("merge " + std::to_string(rank) + " (" + shown(merges_[rank].first) + " " + shown(merges_[rank].second) +
           ") needs the token " + shown(missing) + ", which is not in the vocabulary");
  }

  /// What merges make must not be an added token: a user's plain text would become control text.
  TokenId plain(TokenId id) const {
    const auto index = static_cast<std::size_t>(id);
    if (is_added_[index]) refuse("added token " + shown(text_of_[index]) + " is also what plain text is merged into");
    return id;
  }

  void build_bytes(TokenizerFile& file, const ByteAlphabet& alphabet) const {
    std::size_t total = 0;
    for (const std::string_view text : text_of_) total += text.size();
    if (total > std::numeric_limits<std::uint32_t>::max()) refuse("the tokens hold more than 4 GiB of text");
    file.bytes.reserve(total);
    file.offsets.reserve(text_of_.size() + 1);
    for (std::size_t id = 0; id < text_of_.size(); ++id) {
      file.offsets.push_back(static_cast<std::uint32_t>(file.bytes.size()));
      if (is_added_[id]) {
        file.bytes.append(text_of_[id]);
      } else {
        alphabet.append_bytes(file.bytes, text_of_[id]);
      }
    }
    file.offsets.push_back(static_cast<std::uint32_t>(file.bytes.size()));
    file.bytes.shrink_to_fit();
  }

  const std::string& source_;
  std::string where_ = "the document";
  bool seen_added_ = false;
  bool seen_model_ = false;
  TokenizerSettings settings_;
  // The views point into the parser's string buffer.
  std::vector<RawToken> tokens_;
  std::vector<std::pair<std::string_view, std::string_view>> merges_;
  std::vector<TokenizerFile::AddedToken> added_;
  std::vector<std::string_view> text_of_;  ///< by id; empty: unused
  std::vector<bool> is_added_;             ///< by id
};

}  // namespace

TokenizerFile read_tokenizer_file(std::string_view json, const std::string& source) {
  return Reader(source).read(json);
}

}  // namespace qwen35
