// Bytes as a chat request, a text request and the two of tokens: an ApiError of status 400 whose body is JSON, or a
// request within its limits, whose messages the template can take or refuse.

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "server/openai/chat_request.h"
#include "server/openai/errors.h"
#include "server/openai/text_request.h"
#include "server/openai/token_request.h"
#include "text/chat_template.h"

namespace {

using namespace qwen35::server;

void require(bool holds) {
  if (!holds) std::abort();
}

const RequestLimits& limits() {
  static const RequestLimits small{.messages = 8, .tools = 4, .prompts = 3, .stop = 3, .schema_bytes = 512};
  return small;
}

void check_options(const qwen35::GenerateOptions& options) {
  require(options.temperature >= 0 && options.temperature <= 100);
  require(options.top_p > 0 && options.top_p <= 1);
  require(options.min_p >= 0 && options.min_p < 1);
  require(options.top_k >= 0 && options.max_tokens >= 1 && options.max_thinking_tokens >= 0);
  require(options.max_tokens <= limits().max_tokens && options.stop.size() <= limits().stop);
  require(options.json_schema.size() <= limits().schema_bytes && options.grammar.size() <= limits().schema_bytes);
  require((options.json_schema.empty() ? 0 : 1) + (options.grammar.empty() ? 0 : 1) + (options.json_object ? 1 : 0) <=
          1);
}

void check(const ChatRequest& request) {
  check_options(request.options);
  require(request.n >= 1 && request.n <= limits().n);
  require(!request.messages.empty() && request.messages.size() <= limits().messages);
  require(request.messages.back().role == "user" || request.messages.back().role == "tool");
  for (std::size_t i = 1; i < request.messages.size(); ++i) require(request.messages[i].role != "system");
  try {
    const auto tools =
        request.options.tools.empty() ? nlohmann::ordered_json() : qwen35::parse_json(request.options.tools, "tools");
    qwen35::render_chat(qwen35::to_json(request.messages), tools, {.add_generation_prompt = true});
  } catch (const qwen35::Error&) {
    // The template's own rules.
  }
}

void check(const TextRequest& request) {
  check_options(request.options);
  require(!request.prompts.empty() && request.prompts.size() <= limits().prompts);
  for (const auto& prompt : request.prompts)
    require(std::visit([](const auto& what) { return !what.empty(); }, prompt));
}

void check(const TokenizeRequest&) {}
void check(const std::vector<std::int32_t>& ids) {
  for (const std::int32_t id : ids) require(id >= 0);
}

template <typename Parse>
void attempt(Parse&& parse) {
  try {
    check(parse());
  } catch (const ApiError& error) {
    require(error.status == 400 && !error.code.empty() && !error.message.empty());
    const auto body = nlohmann::json::parse(error_body(error));
    require(body["error"]["type"] == "invalid_request_error");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  attempt([&] { return parse_chat_request(body, limits(), {}); });
  attempt([&] { return parse_text_request(body, limits(), {}); });
  attempt([&] { return parse_tokenize_request(body, limits()); });
  attempt([&] { return parse_detokenize_request(body, limits()); });
  return 0;
}
