#include "cli/models.h"

#include <stdlib.h>

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace qwen35::test {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kEndOfText = 256;  // the control tokens follow the bytes
constexpr int kTurnEnd = kEndOfText + 2;

std::string utf8(unsigned code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

/// GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the others for U+0100 on.
Json byte_vocabulary() {
  Json vocabulary;
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    vocabulary[utf8(printable ? byte : next++)] = byte;
  }
  return vocabulary;
}

Json tokenizer_json() {
  Json added = Json::array();
  int id = kEndOfText;
  for (const char* text : {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>",
                           "<tool_response>", "</tool_response>", "<think>", "</think>"}) {
    added.push_back({{"id", id++},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", text[1] == '|'}});
  }
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const Json split = {{"type", "Split"},
                      {"pattern",
                       {{"Regex",
                         "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                         "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}}},
          {"post_processor", byte_level},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", byte_vocabulary()},
            {"merges", Json::array()}}}};
}

/// Zeroes the embeddings, which are also the head, of the two tokens that end a turn: their logits are then 0, and some
/// other token's is always above.
void silence_turn_ends(const std::filesystem::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  std::uint64_t header_size = 0;
  stream.read(reinterpret_cast<char*>(&header_size), sizeof header_size);
  std::string header(header_size, '\0');
  stream.read(header.data(), static_cast<std::streamsize>(header.size()));
  const Json tensors = Json::parse(header);
  for (const auto& [name, tensor] : tensors.items()) {
    if (!name.ends_with("embed_tokens.weight")) continue;
    const auto row_bytes = 2 * tensor["shape"][1].get<std::size_t>();  // bf16
    const std::string zeros(row_bytes, '\0');
    for (const int id : {kEndOfText, kTurnEnd}) {
      const std::size_t row = tensor["data_offsets"][0].get<std::size_t>() + static_cast<std::size_t>(id) * row_bytes;
      stream.seekp(static_cast<std::streamoff>(sizeof header_size + header.size() + row));
      stream.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
    }
  }
  if (!stream) throw std::runtime_error("cannot edit " + file.string());
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "qwen35-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryFolder::write(const std::string& name, const std::string& text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
  return (path_ / name).string();
}

std::optional<std::filesystem::path> tiny_model() {
  for (const char* folder : {QWEN35_TEST_DATA "/reference/tiny", QWEN35_SHARED_DIR "/reference/tiny"}) {
    if (std::filesystem::exists(std::filesystem::path(folder) / "model.safetensors")) return folder;
  }
  return std::nullopt;
}

std::optional<std::filesystem::path> mini_model() {
  const std::filesystem::path folder = QWEN35_TEST_DATA "/../../models/qwen35-mini";
  if (!std::filesystem::exists(folder / "config.json")) return std::nullopt;
  return std::filesystem::canonical(folder);
}

std::filesystem::path make_talking_model(const std::filesystem::path& folder, const std::filesystem::path& tiny,
                                         bool endless) {
  const std::filesystem::path model = folder / (endless ? "endless" : "talking");
  std::filesystem::create_directories(model);
  std::filesystem::copy_file(tiny / "config.json", model / "config.json");
  std::filesystem::copy_file(tiny / "model.safetensors", model / "model.safetensors");
  if (endless) {
    std::filesystem::permissions(model / "model.safetensors", std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
    silence_turn_ends(model / "model.safetensors");
  }
  std::ofstream(model / "tokenizer.json") << tokenizer_json().dump();
  return model;
}

}  // namespace qwen35::test
