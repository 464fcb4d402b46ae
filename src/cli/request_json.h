#pragma once

#include <qwen35/message.h>
#include <qwen35/options.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::cli {

/// One line of `generate --jsonl`.
struct Request {
  std::vector<Message> messages;
  GenerateOptions options;
  nlohmann::ordered_json id;  ///< given back with the reply; null: none
};

/// Reads a request object; what it does not state is taken from `defaults`. Throws invalid_argument naming `what` and
/// the field; an unknown field is an error, because a misspelt option would otherwise pass unseen.
Request parse_request(std::string_view text, std::string_view what, const GenerateOptions& defaults);

/// The names of the options that a request may state, with commas between.
std::string request_options();

}  // namespace qwen35::cli
