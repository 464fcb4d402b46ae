#include "server/openai/text_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/openai/requests.h"
#include "server/openai/token_request.h"

namespace qwen35::server {
namespace {

using testing::ElementsAre;

TextRequest with_prompt(const std::string& prompt) {
  return parse_text_request("{\"prompt\": " + prompt + "}", {}, {});
}

TEST(TextRequests, TakePromptsInAllFourForms) {
  using Ids = std::vector<std::int32_t>;
  EXPECT_THAT(with_prompt("\"one\"").prompts, ElementsAre(TextRequest::Prompt("one")));
  EXPECT_THAT(with_prompt(R"(["one", "two"])").prompts,
              ElementsAre(TextRequest::Prompt("one"), TextRequest::Prompt("two")));
  EXPECT_THAT(with_prompt("[1, 2]").prompts, ElementsAre(TextRequest::Prompt(Ids{1, 2})));
  EXPECT_THAT(with_prompt("[[1], [2, 3]]").prompts,
              ElementsAre(TextRequest::Prompt(Ids{1}), TextRequest::Prompt(Ids{2, 3})));
}

TEST(TextRequests, HaveTheirOwnOptions) {
  const TextRequest request =
      text(R"(, "max_tokens": 5, "n": 2, "best_of": 2, "echo": true, "stream": true, "stop": ".", "suffix": null)");
  EXPECT_EQ(request.options.max_tokens, 5);
  EXPECT_EQ(request.n, 2);
  EXPECT_TRUE(request.echo);
  EXPECT_TRUE(request.stream);
  EXPECT_FALSE(request.options.logprobs);
  EXPECT_TRUE(text(R"(, "logprobs": 0)").options.logprobs);
  EXPECT_EQ(text(R"(, "logprobs": 5)").options.top_logprobs, 5);
}

TEST(TextRequests, AreRefusedByTheFieldAtFault) {
  const auto refused = [](const std::string& fields) { return refusal([&] { text(fields); }); };
  EXPECT_EQ(refused(R"(, "suffix": "x")"), "400 unsupported_parameter suffix");
  EXPECT_EQ(refused(R"(, "best_of": 2)"), "400 unsupported_parameter best_of");
  EXPECT_EQ(refused(R"(, "echo": true, "logprobs": 1)"), "400 unsupported_parameter echo");
  EXPECT_EQ(refused(R"(, "logprobs": 6)"), "400 invalid_value logprobs");
  EXPECT_EQ(refused(R"(, "logprobs": true)"), "400 invalid_value logprobs");
  const auto prompt = [](const std::string& value) { return refusal([&] { with_prompt(value); }); };
  EXPECT_EQ(refusal([] { parse_text_request("{}", {}, {}); }), "400 missing_required_parameter prompt");
  EXPECT_EQ(prompt("null"), "400 missing_required_parameter prompt");
  EXPECT_EQ(prompt("\"\""), "400 invalid_value prompt");
  EXPECT_EQ(prompt("[]"), "400 invalid_value prompt");
  EXPECT_EQ(prompt("[[]]"), "400 invalid_value prompt[0]");
  EXPECT_EQ(prompt("{}"), "400 invalid_value prompt");
  EXPECT_EQ(prompt("[1, -2]"), "400 invalid_value prompt[1]");
  EXPECT_EQ(prompt("[1, 2.5]"), "400 invalid_value prompt[1]");
  EXPECT_EQ(prompt("[1, 99999999999999999999999]"), "400 invalid_value prompt[1]");
  EXPECT_EQ(prompt("[1, \"two\"]"), "400 invalid_value prompt[1]");
  EXPECT_EQ(prompt(R"(["one", 2])"), "400 invalid_value prompt[1]");
  EXPECT_EQ(prompt(R"(["1","2","3","4","5","6","7","8","9"])"), "400 invalid_value prompt");
  EXPECT_EQ(prompt(R"("a <|im_end|>")"), "400 control_token prompt");
}

TEST(TokenRequests, GoBothWays) {
  EXPECT_EQ(parse_tokenize_request(R"({"prompt": "a"})", {}).text, "a");
  EXPECT_EQ(parse_tokenize_request(R"({"content": ""})", {}).text, "");
  EXPECT_FALSE(parse_tokenize_request(R"({"content": "a"})", {}).special);
  EXPECT_TRUE(parse_tokenize_request(R"({"prompt": "<|im_end|>", "special": true})", {}).special);
  EXPECT_THAT(parse_detokenize_request(R"({"tokens": [5, 0]})", {}), ElementsAre(5, 0));
  EXPECT_EQ(tokenize_response(std::vector<std::int32_t>{1, 2}, 64), R"({"tokens":[1,2],"count":2,"max_model_len":64})");
  EXPECT_EQ(detokenize_response("a\xFF"), "{\"prompt\":\"a\xEF\xBF\xBD\",\"content\":\"a\xEF\xBF\xBD\"}");
  EXPECT_EQ(refusal([] { parse_tokenize_request("{}", {}); }), "400 missing_required_parameter prompt");
  EXPECT_EQ(refusal([] { parse_tokenize_request(R"({"prompt": 1})", {}); }), "400 invalid_value prompt");
  EXPECT_EQ(refusal([] { parse_detokenize_request(R"({"tokens": "x"})", {}); }), "400 invalid_value tokens");
  EXPECT_EQ(refusal([] { parse_detokenize_request(R"({"tokens": [-1]})", {}); }), "400 invalid_value tokens[0]");
}

}  // namespace
}  // namespace qwen35::server
