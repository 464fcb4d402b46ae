// Files that are damaged, hostile or of another kind: each is refused with a message that names the thing.

#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "text/tokenizer.h"
#include "text_data.h"

namespace qwen35 {
namespace {

using nlohmann::json;

std::string error_of(std::string_view text, ErrorCode expected) {
  try {
    (void)Tokenizer::from_json(text, "FILE");
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), expected) << e.what();
    EXPECT_TRUE(std::string_view(e.what()).starts_with("FILE: ")) << e.what();
    return std::string(e.what()).substr(6);
  }
  return "no error";
}

std::string error_with(const std::function<void(json&)>& change, ErrorCode expected = ErrorCode::bad_file) {
  json file = json::parse(test::read_file(test::data_path("tiny_tokenizer.json")));
  change(file);
  return error_of(file.dump(), expected);
}

constexpr auto unsupported = ErrorCode::unsupported;

TEST(TokenizerFile, TheFixtureLoads) {
  EXPECT_EQ(error_with([](json&) {}), "no error");
}

TEST(TokenizerFile, BothFormsOfMergesAreRead) {
  json file = json::parse(test::read_file(test::data_path("tiny_tokenizer.json")));
  const Tokenizer pairs = Tokenizer::from_json(file.dump(), "pairs");
  for (json& merge : file["model"]["merges"]) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  const Tokenizer lines = Tokenizer::from_json(file.dump(), "lines");
  const std::string text = "The weather is fine today, isn't it? \u4F60\u597D";
  EXPECT_EQ(pairs.encode(text), lines.encode(text));
}

TEST(TokenizerFile, PartsMayComeInAnyOrder) {
  const json file = json::parse(test::read_file(test::data_path("tiny_tokenizer.json")));
  const json& model = file["model"];
  const std::string reversed = R"({"model": {"merges": )" + model["merges"].dump() + R"(, "vocab": )" +
                               model["vocab"].dump() + R"(}, "pre_tokenizer": )" + file["pre_tokenizer"].dump() +
                               R"(, "normalizer": )" + file["normalizer"].dump() + R"(, "added_tokens": )" +
                               file["added_tokens"].dump() + "}";
  EXPECT_EQ(Tokenizer::from_json(reversed, "r").encode("Hello there"),
            Tokenizer::from_json(file.dump(), "f").encode("Hello there"));
}

TEST(TokenizerFile, MissingFilesAreNotFound) {
  try {
    (void)Tokenizer::from_file(test::data_path("no-such-tokenizer.json"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_found);
    EXPECT_NE(std::string(e.what()).find("no-such-tokenizer.json"), std::string::npos);
  }
}

TEST(TokenizerFile, EveryTruncationIsRefused) {
  const std::string whole = test::read_file(test::data_path("tiny_tokenizer.json"));
  const std::size_t last = whole.rfind('}');
  for (std::size_t size = 0; size <= last; size += size < 200 || size + 200 > last ? 1 : 97) {
    EXPECT_NE(error_of(whole.substr(0, size), ErrorCode::bad_file), "no error") << size;
  }
}

TEST(TokenizerFile, JunkIsRefused) {
  for (const char* text :
       {"", " ", "null", "3", "[]", "{}", "{\"model\": 1}", "{\"model\": {}}", "\xFF\xFE", "{\"model\""}) {
    EXPECT_NE(error_of(text, ErrorCode::bad_file), "no error") << text;
  }
  const std::string whole = test::read_file(test::data_path("tiny_tokenizer.json"));
  EXPECT_NE(error_of(whole + "{}", ErrorCode::bad_file), "no error");
  EXPECT_NE(error_of(std::string(100'000, '['), ErrorCode::bad_file), "no error");
  std::string deep = "{\"normalizer\": ";
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_NE(error_of(deep, ErrorCode::bad_file), "no error");
}

TEST(TokenizerFile, BadIdsAreRefused) {
  EXPECT_EQ(error_with([](json& f) { f["model"]["vocab"]["a"] = -1; }),
            "token \"a\" has the id -1; expected 0 to 4194303");
  EXPECT_EQ(error_with([](json& f) { f["model"]["vocab"]["a"] = 1U << 31; }),
            "token \"a\" has the id 2147483648; expected 0 to 4194303");
  EXPECT_EQ(error_with([](json& f) { f["model"]["vocab"]["a"] = f["model"]["vocab"]["b"]; }).substr(0, 31),
            "tokens \"a\" and \"b\" share the id");
  EXPECT_NE(error_with([](json& f) { f["model"]["vocab"]["a"] = 1.5; }), "no error");
  EXPECT_NE(error_with([](json& f) { f["model"]["vocab"]["a"] = "1"; }), "no error");
  EXPECT_NE(error_with([](json& f) { f["model"]["vocab"]["a"] = nullptr; }), "no error");
  EXPECT_NE(error_with([](json& f) { f["added_tokens"][0]["id"] = -5; }).find("has the id -5"), std::string::npos);
  EXPECT_NE(error_with([](json& f) { f["added_tokens"][0]["id"] = 3; }).find("repeats a text or the id 3"),
            std::string::npos);
  EXPECT_EQ(error_with([](json& f) { f["added_tokens"][2].erase("id"); }), "added_tokens[2] has no id");
}

TEST(TokenizerFile, BadAddedTokensAreRefused) {
  EXPECT_EQ(error_with([](json& f) { f["added_tokens"][1]["content"] = ""; }),
            "added_tokens[1] has no content: an empty token would match everywhere");
  EXPECT_EQ(error_with([](json& f) { f["added_tokens"][1]["content"] = std::string(257, 'x'); }),
            "added_tokens[1] has 257 bytes; at most 256 are allowed");
  EXPECT_NE(error_with([](json& f) { f["added_tokens"][1]["content"] = "<|endoftext|>"; }).find("repeats a text"),
            std::string::npos);
  EXPECT_EQ(error_with([](json& f) { f["added_tokens"][1]["lstrip"] = true; }, unsupported),
            "added_tokens[1] has \"lstrip\": true; Qwen's tokenizers have only false");
}

TEST(TokenizerFile, PlainTextMustNotMergeIntoAnAddedToken) {
  const auto claim = [](const char* text) {
    return error_with([text](json& f) {
      f["added_tokens"].push_back({{"id", f["model"]["vocab"][text]}, {"content", text}, {"special", true}});
    });
  };
  EXPECT_EQ(claim("a"), "added token \"a\" is also what plain text is merged into");
  EXPECT_EQ(claim("aa"), "added token \"aa\" is also what plain text is merged into");
}

TEST(TokenizerFile, AnAddedTokenMayRepeatAnUnreachableEntry) {
  EXPECT_EQ(error_with([](json& f) { f["model"]["vocab"]["<|im_end|>"] = f["added_tokens"][2]["id"]; }), "no error");
  EXPECT_NE(error_with([](json& f) { f["model"]["vocab"]["<|im_end|>"] = 3000; }).find("gives it 3000"),
            std::string::npos);
}

TEST(TokenizerFile, BadMergesAreRefused) {
  EXPECT_EQ(error_with([](json& f) { f["model"]["merges"].push_back({"a", "\u00FF"}); }).substr(0, 10), "merge 160 ");
  EXPECT_NE(error_with([](json& f) { f["model"]["merges"][0] = "ab"; }).find("merge 0"), std::string::npos);
  EXPECT_NE(error_with([](json& f) { f["model"]["merges"][0] = "a b c"; }).find("merge 0"), std::string::npos);
  EXPECT_NE(error_with([](json& f) { f["model"]["merges"][0] = {"a", "b", "c"}; }).find("merge 0"), std::string::npos);
  EXPECT_NE(error_with([](json& f) { f["model"]["merges"][0] = {"a"}; }).find("merge 0"), std::string::npos);
  EXPECT_NE(error_with([](json& f) { f["model"]["merges"][0] = {"a", "nope"}; }).find("\"nope\""), std::string::npos);
  EXPECT_NE(error_with([](json& f) { f["model"]["merges"][0] = 7; }), "no error");
  EXPECT_NE(error_with([](json& f) { f["model"].erase("merges"); }).find("no merges"), std::string::npos);
}

TEST(TokenizerFile, EveryByteNeedsAToken) {
  EXPECT_EQ(error_with([](json& f) { f["model"]["vocab"].erase("\u0100"); }),
            "there is no token \"\u0100\" for byte 0");
}

TEST(TokenizerFile, DuplicateKeysAreRefused) {
  std::string text = test::read_file(test::data_path("tiny_tokenizer.json"));
  const std::string vocab = "\"vocab\": {";
  text.insert(text.find(vocab) + vocab.size(), "\"!\": 5000, ");
  EXPECT_EQ(error_of(text, ErrorCode::bad_file), "token \"!\" is in the vocabulary twice");
  EXPECT_EQ(error_of(R"({"added_tokens": [], "added_tokens": []})", ErrorCode::bad_file),
            "added_tokens is given twice");
}

TEST(TokenizerFile, UnsupportedPartsAreNamed) {
  const auto error = [](const std::function<void(json&)>& change) { return error_with(change, unsupported); };
  EXPECT_EQ(error([](json& f) { f["normalizer"]["type"] = "NFKC"; }).substr(0, 34),
            "normalizer.type is \"NFKC\"; this en");
  EXPECT_EQ(error([](json& f) { f["model"]["type"] = "Unigram"; }).substr(0, 25), "model.type is \"Unigram\"; ");
  EXPECT_EQ(error([](json& f) { f["model"]["dropout"] = 0.1; }).substr(0, 21), "model.dropout is 0.1;");
  EXPECT_EQ(error([](json& f) { f["model"]["ignore_merges"] = true; }).substr(0, 28), "model.ignore_merges is true;");
  EXPECT_EQ(error([](json& f) { f["decoder"]["type"] = "WordPiece"; }).substr(0, 12), "decoder.type");
  EXPECT_EQ(error([](json& f) { f["post_processor"]["type"] = "TemplateProcessing"; }).substr(0, 19),
            "post_processor.type");
  EXPECT_EQ(error([](json& f) { f["pre_tokenizer"] = nullptr; }).substr(0, 29), "there is no pre_tokenizer; th");
  EXPECT_EQ(error([](json& f) { f["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true; }).substr(0, 40),
            "pre_tokenizer.pretokenizers[1].use_regex");
  EXPECT_EQ(error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }).substr(0, 39),
            "pre_tokenizer.pretokenizers[0].behavior");
  EXPECT_EQ(error([](json& f) {
              f["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"String", " "}};
            }).substr(0, 38),
            "pre_tokenizer.pretokenizers[0].pattern");
}

}  // namespace
}  // namespace qwen35
