#include <qwen35/error.h>

#include <charconv>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "chat/model_locator.h"
#include "cli/cli.h"
#include "cli/model_download.h"
#include "cli/options.h"
#include "cli/text_io.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kInputLimit = std::size_t{1} << 30;  // what the tokenizer takes at once

struct Options {
  std::string model;
  bool special = false;
  bool skip_special = false;
  bool json = false;
  bool jsonl = false;
};

Tokenizer load_tokenizer(const Options& options) {
  return Tokenizer::from_file(tokenizer_file(find_model(options.model)));
}

std::string joined(std::span<const TokenId> ids, std::string_view separator) {
  std::string text;
  for (const TokenId id : ids) {
    if (!text.empty()) text += separator;
    text += std::to_string(id);
  }
  return text;
}

std::string as_array(std::span<const TokenId> ids) { return "[" + joined(ids, ", ") + "]"; }

/// Calls `each` with the JSON value of every line of standard input.
template <typename Each>
void for_each_line(const Each& each) {
  for (std::size_t number = 1;; ++number) {
    const std::string what = "line " + std::to_string(number) + " of standard input";
    const auto line = read_line(std::cin, kInputLimit, what);
    if (!line) return;
    each(parse_json(*line, what), what);
  }
}

int run_tokenize(const Options& options) {
  const Tokenizer tokenizer = load_tokenizer(options);
  const auto encode = [&](const std::string& text) {
    return options.special ? tokenizer.encode_with_special(text) : tokenizer.encode(text);
  };
  if (options.jsonl) {
    for_each_line([&](const nlohmann::ordered_json& text, const std::string& what) {
      if (!text.is_string()) {
        throw Error(ErrorCode::invalid_argument,
                    what + " is a JSON " + text.type_name() + "; with --jsonl each line is a JSON string");
      }
      std::cout << as_array(encode(text.get_ref<const std::string&>())) << '\n';
    });
    return 0;
  }
  const std::vector<TokenId> ids = encode(read_all("-", kInputLimit));
  std::cout << (options.json ? as_array(ids) : joined(ids, " ")) << '\n';
  return 0;
}

[[noreturn]] void refuse_id(const std::string& what, const std::string& found) {
  throw Error(ErrorCode::invalid_argument, what + " holds " + found + "; expected token ids, whole numbers from 0");
}

std::vector<TokenId> ids_of(const nlohmann::ordered_json& array, const std::string& what) {
  if (!array.is_array()) refuse_id(what, std::string("a JSON ") + array.type_name());
  std::vector<TokenId> ids;
  ids.reserve(array.size());
  for (const auto& item : array) {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() > std::numeric_limits<TokenId>::max()) {
      refuse_id(what, item.is_number() ? item.dump() : std::string("a ") + item.type_name());
    }
    ids.push_back(item.get<TokenId>());
  }
  return ids;
}

/// Numbers with blanks, line ends or commas between them.
std::vector<TokenId> ids_of(std::string_view text) {
  constexpr std::string_view separators = " \t\r\n,";
  std::vector<TokenId> ids;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(separators), text.size()));
    if (text.empty()) return ids;
    const std::string_view word = text.substr(0, text.find_first_of(separators));
    TokenId id = 0;
    const auto result = std::from_chars(word.data(), word.data() + word.size(), id);
    if (result.ec != std::errc() || result.ptr != word.data() + word.size()) {
      refuse_id("standard input", "\"" + to_valid_utf8(word.substr(0, 40)) + "\"");
    }
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

int run_detokenize(const Options& options) {
  const Tokenizer tokenizer = load_tokenizer(options);
  if (options.jsonl) {
    for_each_line([&](const nlohmann::ordered_json& array, const std::string& what) {
      const std::string text = tokenizer.decode(ids_of(array, what), options.skip_special);
      std::cout << nlohmann::ordered_json(to_valid_utf8(text)).dump() << '\n';
    });
    return 0;
  }
  const std::string input = read_all("-", kInputLimit);
  const std::size_t start = input.find_first_not_of(" \t\r\n");
  const bool is_array = start != std::string::npos && input[start] == '[';
  const std::string what = "standard input";
  const auto ids = is_array ? ids_of(parse_json(input, what), what) : ids_of(input);
  std::cout << tokenizer.decode(ids, options.skip_special);
  return 0;
}

}  // namespace

void add_tokenize_command(CLI::App& app, Runner& run) {
  CLI::App* const tokenize = app.add_subcommand("tokenize", "The token ids of standard input");
  const auto options = std::make_shared<Options>();
  add_model_option(*tokenize, options->model, kDefaultModel);
  tokenize->add_flag("--special", options->special, "read control tokens such as <|im_end|> in the text as such");
  auto* const jsonl = tokenize->add_flag("--jsonl", options->jsonl,
                                         "each input line is a JSON string, each output line an array of ids");
  tokenize->add_flag("--json", options->json, "print a JSON array instead of numbers and blanks")->excludes(jsonl);
  tokenize->footer("Example:\n  printf 'Hello, world!' | qwen35 tokenize --model mini");
  tokenize->callback([options, &run] { run = [options] { return run_tokenize(*options); }; });

  CLI::App* const detokenize = app.add_subcommand("detokenize", "The text of the token ids on standard input");
  const auto back = std::make_shared<Options>();
  add_model_option(*detokenize, back->model, kDefaultModel);
  detokenize->add_flag("--skip-special", back->skip_special, "leave out special tokens such as <|im_end|>");
  detokenize->add_flag("--jsonl", back->jsonl, "each input line is an array of ids, each output line a JSON string");
  detokenize->footer(
      "The ids are separated by blanks, commas or line ends, or are a JSON array; the text is printed as it is.\n\n"
      "Example:\n  printf 'Hello' | qwen35 tokenize --model mini | qwen35 detokenize --model mini");
  detokenize->callback([back, &run] { run = [back] { return run_detokenize(*back); }; });
}

}  // namespace qwen35::cli
