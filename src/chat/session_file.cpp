#include "chat/session_file.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "base/file_writer.h"
#include "base/mapped_file.h"
#include "text/chat_template.h"
#include "text/utf8.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "numbers are written as they stand in memory");

constexpr std::string_view kMagic = "QW35SESS";

struct Header {
  std::array<char, 8> magic{};
  std::uint32_t version = SessionFile::kVersion;
  std::uint32_t zero = 0;
  std::uint64_t description = 0;  ///< bytes
  std::uint64_t tokens = 0;       ///< bytes
  std::uint64_t snapshot = 0;     ///< bytes
  std::uint64_t body_hash = 0;
  std::uint64_t header_hash = 0;
};
static_assert(sizeof(Header) == 56);

std::uint64_t hash_of(const Header& header) { return XXH3_64bits(&header, sizeof header - sizeof header.header_hash); }

[[noreturn]] void refuse(const std::string& name, const std::string& problem) {
  throw Error(ErrorCode::bad_file, "session file " + name + " " + problem);
}

std::string hex(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

/// A field of the description; throws when it is missing or of another type.
template <typename T>
T field(const Json& json, const char* key, const std::string& name) {
  try {
    return json.at(key).get<T>();
  } catch (const nlohmann::json::exception&) {
    refuse(name, std::string("has no usable \"") + key + "\" in its description; it was not written by this program");
  }
}

Json describe(const Message& message) {
  Json json = {{"role", message.role}, {"content", to_valid_utf8(message.content)}};
  if (!message.thinking.empty()) json["thinking"] = to_valid_utf8(message.thinking);
  for (const ToolCall& call : message.tool_calls) {
    json["tool_calls"].push_back({{"name", to_valid_utf8(call.name)}, {"arguments", to_valid_utf8(call.arguments)}});
  }
  return json;
}

Message message_of(const Json& json, const std::string& name) {
  Message message{.role = field<std::string>(json, "role", name), .content = field<std::string>(json, "content", name)};
  if (json.contains("thinking")) message.thinking = field<std::string>(json, "thinking", name);
  if (json.contains("tool_calls")) {
    const Json calls = field<Json>(json, "tool_calls", name);
    for (const Json& call : calls) {
      message.tool_calls.push_back(
          {field<std::string>(call, "name", name), field<std::string>(call, "arguments", name)});
    }
  }
  return message;
}

}  // namespace

void SessionFile::save(const std::filesystem::path& file, const Model& model, const Conversation& conversation,
                       const Snapshot* snapshot) {
  Json description = {{"model", model.info.name},
                      {"fingerprint", hex(model.fingerprint)},
                      {"snapshot_format", model.backend->snapshot_format()},
                      {"tools", to_valid_utf8(conversation.tools_)},
                      {"default_tools", to_valid_utf8(conversation.default_tools_)},
                      {"closing", conversation.closing_},
                      {"reply_begin", conversation.reply_begin_},
                      {"answer_begin", conversation.answer_begin_},
                      {"messages", Json::array()}};
  for (const Message& message : conversation.messages_) description["messages"].push_back(describe(message));
  const std::string text = description.dump();

  Header header;
  std::copy(kMagic.begin(), kMagic.end(), header.magic.begin());
  header.description = text.size();
  header.tokens = conversation.tokens_.size() * sizeof(TokenId);

  FileWriter writer(file);
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  const auto write = [&](std::span<const std::byte> bytes) {
    XXH3_64bits_update(&hash, bytes.data(), bytes.size());
    writer.write(bytes);
  };
  writer.write(std::as_bytes(std::span(&header, 1)));
  write(std::as_bytes(std::span(text)));
  write(std::as_bytes(std::span(conversation.tokens_)));
  if (snapshot != nullptr) {
    model.backend->write_snapshot(*snapshot, [&](std::span<const std::byte> bytes) {
      header.snapshot += bytes.size();
      write(bytes);
    });
  }
  header.body_hash = XXH3_64bits_digest(&hash);
  header.header_hash = hash_of(header);
  writer.write_at(0, std::as_bytes(std::span(&header, 1)));
  writer.commit();
}

std::vector<std::byte> SessionFile::with_header(std::span<const std::byte> body, std::size_t description,
                                                std::size_t tokens) {
  Header header;
  std::copy(kMagic.begin(), kMagic.end(), header.magic.begin());
  header.description = description;
  header.tokens = tokens;
  header.snapshot = body.size() - description - tokens;
  header.body_hash = XXH3_64bits(body.data(), body.size());
  header.header_hash = hash_of(header);
  std::vector<std::byte> bytes(sizeof header + body.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!body.empty()) std::memcpy(bytes.data() + sizeof header, body.data(), body.size());
  return bytes;
}

SessionFile::Loaded SessionFile::load(const std::filesystem::path& file, const Model& model,
                                      std::shared_ptr<ReplyMemory> replies) {
  const MappedFile mapped(file);
  return parse(mapped.bytes(), file.string(), model, std::move(replies));
}

SessionFile::Loaded SessionFile::parse(std::span<const std::byte> bytes, const std::string& name, const Model& model,
                                       std::shared_ptr<ReplyMemory> replies) {
  Header header;
  if (bytes.size() < sizeof header) refuse(name, "is shorter than its header; it is no session file, or was cut off");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (!std::equal(kMagic.begin(), kMagic.end(), header.magic.begin())) {
    refuse(name, "does not begin with " + std::string(kMagic) + "; give a file that was saved as a session");
  }
  if (header.version != kVersion) {
    refuse(name, "has version " + std::to_string(header.version) + "; this program reads version " +
                     std::to_string(kVersion) + ": save the session again with the program that is to read it");
  }
  if (header.header_hash != hash_of(header)) refuse(name, "has a damaged header (its checksum does not match)");
  const std::uint64_t body = bytes.size() - sizeof header;
  if (header.description > body || header.tokens > body - header.description ||
      header.snapshot != body - header.description - header.tokens || header.tokens % sizeof(TokenId) != 0) {
    refuse(name, "has " + std::to_string(body) +
                     " bytes behind its header where the header says otherwise; it was cut "
                     "off or added to");
  }
  bytes = bytes.subspan(sizeof header);
  if (XXH3_64bits(bytes.data(), bytes.size()) != header.body_hash)
    refuse(name, "is damaged: its content does not match its checksum");

  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), header.description);
  Json description;
  try {
    description = parse_json(text, "description");
  } catch (const Error& error) {
    refuse(name, std::string("has a description that is no JSON: ") + error.what());
  }
  if (field<std::string>(description, "fingerprint", name) != hex(model.fingerprint)) {
    throw Error(ErrorCode::invalid_argument, "session file " + name + " is of another model, \"" +
                                                 field<std::string>(description, "model", name) + "\"; loaded is \"" +
                                                 model.info.name + "\": load the model that it was saved with");
  }
  if (const auto format = field<std::string>(description, "snapshot_format", name);
      format != model.backend->snapshot_format()) {
    throw Error(ErrorCode::invalid_argument, "session file " + name + " holds a state of the form \"" + format +
                                                 "\"; this backend has \"" + model.backend->snapshot_format() +
                                                 "\": load the model with the backend it was saved with");
  }

  Loaded loaded{.conversation = Conversation(std::move(replies)), .tokens = {}, .snapshot = {}};
  loaded.tokens.resize(header.tokens / sizeof(TokenId));
  if (!loaded.tokens.empty()) std::memcpy(loaded.tokens.data(), bytes.data() + header.description, header.tokens);
  const auto legal = [&](TokenId id) { return id >= 0 && static_cast<std::size_t>(id) < model.vocabulary; };
  Conversation& conversation = loaded.conversation;
  std::vector<Message> messages;
  const Json listed = field<Json>(description, "messages", name);
  for (const Json& message : listed) messages.push_back(message_of(message, name));
  conversation.set_messages(std::move(messages));
  conversation.set_tools(field<std::string>(description, "default_tools", name));
  conversation.tools_ = field<std::string>(description, "tools", name);
  conversation.closing_ = field<std::vector<TokenId>>(description, "closing", name);
  conversation.reply_begin_ = field<std::size_t>(description, "reply_begin", name);
  conversation.answer_begin_ = field<std::size_t>(description, "answer_begin", name);
  conversation.tokens_ = loaded.tokens;
  if (!std::all_of(loaded.tokens.begin(), loaded.tokens.end(), legal) ||
      !std::all_of(conversation.closing_.begin(), conversation.closing_.end(), legal) ||
      conversation.reply_begin_ > conversation.answer_begin_ || conversation.answer_begin_ > loaded.tokens.size() ||
      loaded.tokens.size() > model.info.context) {
    refuse(name, "holds tokens or places that do not fit the model; it was not written by this program");
  }
  if (header.snapshot > 0) {
    loaded.snapshot = model.backend->read_snapshot(bytes.subspan(header.description + header.tokens));
    if (loaded.snapshot->position() != loaded.tokens.size()) {
      refuse(name, "has a state at " + std::to_string(loaded.snapshot->position()) + " tokens but a history of " +
                       std::to_string(loaded.tokens.size()));
    }
  }
  remember_replies(conversation, model.tokenizer);
  return loaded;
}

/// Finds the earlier replies in the tokens, so that an edit after loading keeps what stands before it.
void SessionFile::remember_replies(Conversation& conversation, const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens = conversation.tokens_;
  tokens.insert(tokens.end(), conversation.closing_.begin(), conversation.closing_.end());
  const std::vector<TokenId> header = tokenizer.encode_with_special("<|im_start|>assistant\n");
  std::vector<std::size_t> begins;
  std::vector<std::size_t> replies;  // indices into `begins`
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] != header.front()) continue;
    if (tokens.size() - i >= header.size() &&
        std::equal(header.begin(), header.end(), tokens.begin() + static_cast<std::ptrdiff_t>(i)))
      replies.push_back(begins.size());
    begins.push_back(i);
  }
  begins.push_back(tokens.size());
  std::vector<const Message*> said;
  for (const Message& message : conversation.messages_) {
    if (message.role == "assistant") said.push_back(&message);
  }
  if (said.size() != replies.size()) return;
  TokenHash before;
  std::size_t hashed = 0;
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const std::size_t begin = begins[replies[i]];
    before.add(std::span(tokens).subspan(hashed, begin - hashed));
    hashed = begin;
    ReplyMemory::Reply reply{before.key(), *said[i], {}};
    reply.tokens.assign(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                        tokens.begin() + static_cast<std::ptrdiff_t>(begins[replies[i] + 1]));
    conversation.replies_->remember(std::move(reply));
  }
}

}  // namespace qwen35
