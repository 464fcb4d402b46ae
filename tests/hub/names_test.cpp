// Names that people type and names that the network sends.
#include "hub/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include "hub/listing.h"
#include "hub/selection.h"

namespace qwen35::hub {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(HubNames, AModelsNameHasUpToThreeParts) {
  const auto all = parse_model_name("aufklarer/Qwen3.5-0.8B-Chat-MLX:int4@v1.0");
  ASSERT_TRUE(all);
  EXPECT_EQ(all->id, "aufklarer/Qwen3.5-0.8B-Chat-MLX");
  EXPECT_EQ(all->variant, "int4");
  EXPECT_EQ(all->revision, "v1.0");
  EXPECT_EQ(parse_model_name("Qwen/Qwen3.5-0.8B")->variant, "");
  EXPECT_EQ(parse_model_name("Qwen/Qwen3.5-0.8B@refs/pr/3")->revision, "refs/pr/3");
  EXPECT_EQ(parse_model_name("a/b:int8")->id, "a/b");
}

TEST(HubNames, WhatIsNoIdIsNoModelOfTheHub) {
  for (const char* text : {"", "mini", "/", "a/", "/b", "a/b/c", "./a", "../b", "~/b", "a/..", "a//b", "a/b c", "a/-b",
                           "a--x/b", "a/b..c", "a/b.", "a/\xc3\xa4", "a/b\n"}) {
    EXPECT_FALSE(parse_model_name(text)) << text;
  }
  EXPECT_FALSE(parse_model_name("a/" + std::string(97, 'b')));
  EXPECT_THROW(check_repository_id("mini"), Error);
}

TEST(HubNames, VariantAndRevisionAreChecked) {
  for (const char* text : {"a/b:", "a/b:..", "a/b:x/y", "a/b:x:y", "a/b@", "a/b@..", "a/b@/etc", "a/b@x..//y",
                           "a/b@x y", "a/b@x\x1b[2J", "a/b:int4@m@n"}) {
    EXPECT_THROW((void)parse_model_name(text), Error) << text;
  }
}

TEST(HubNames, PathsThatLeaveTheirFolderAreRefused) {
  for (const char* path : {"", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "./x", "a//b", "a/", "a\\b", "a\nb",
                           "a\x7f", "\x1b]0;x\x07", "a\xc2\x9b"}) {
    EXPECT_THAT(problem_with_path(path), testing::Not(IsEmpty())) << path;
  }
  EXPECT_NE(problem_with_path(std::string_view("a\0b", 3)), "");
  EXPECT_NE(problem_with_path(std::string(201, 'x')), "");
  EXPECT_NE(problem_with_path(std::string(600, 'x').replace(150, 1, "/").replace(300, 1, "/") + std::string(600, '/')),
            "");
  for (const char* path :
       {"config.json", "int4/model-00001-of-00002.safetensors", "..x", "a..b/c", "\xc3\xa4/\xe2\x82\xac"})
    EXPECT_EQ(problem_with_path(path), "") << path;
}

TEST(HubNames, AddressesAreEncoded) {
  EXPECT_EQ(percent_encoded("int4/a b%?#.json", true), "int4/a%20b%25%3F%23.json");
  EXPECT_EQ(percent_encoded("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(percent_encoded("\xc3\xa4", true), "%C3%A4");
}

TEST(HubNames, BytesForPeople) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.0 kB");
  EXPECT_EQ(human_bytes(417300000), "417.3 MB");
  EXPECT_EQ(human_bytes(~0ULL), "18446744.1 TB");
}

TEST(HubSelection, VariantsAreFoldersWithConfigAndWeights) {
  const FileNames names = {
      "README.md",        "config.json",        "tokenizer.json",   "int4/config.json",    "int4/model.safetensors",
      "int8/config.json", "int8/x.safetensors", "docs/config.json", "deep/er/config.json", "deep/er/model.safetensors"};
  EXPECT_THAT(variants_of(names), ElementsAre("int4", "int8"));
  FileNames more = names;
  more.insert("model.safetensors");
  EXPECT_THAT(variants_of(more), ElementsAre("", "int4", "int8"));
}

std::string why_not(const std::string& id, const FileNames& names, const std::string& variant) {
  try {
    (void)choose_variant(id, names, variant);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    return error.what();
  }
  return "chosen";
}

TEST(HubSelection, TheVariantIsChosenOrToldWhichExist) {
  const FileNames three = {"int4/config.json",       "int4/model.safetensors", "int5/config.json",
                           "int5/model.safetensors", "int8/config.json",       "int8/model.safetensors"};
  FileNames two = three;
  two.erase("int5/config.json");
  const FileNames one = {"q/config.json", "q/model.safetensors"};
  const FileNames top = {"config.json", "model.safetensors"};
  const std::string standard(kDefaultRepository);
  EXPECT_EQ(choose_variant(standard, three, ""), "int5");
  EXPECT_EQ(choose_variant(standard, three, "int8"), "int8");
  EXPECT_EQ(choose_variant(standard, top, ""), "");
  EXPECT_EQ(choose_variant("a/b", top, ""), "");
  EXPECT_EQ(choose_variant("a/b", one, ""), "q");
  EXPECT_THAT(why_not(standard, two, ""), AllOf(HasSubstr("\"int5\""), HasSubstr("\"int4\", \"int8\"")));
  EXPECT_THAT(why_not(standard, three, "int3"),
              AllOf(HasSubstr("\"int3\""), HasSubstr("\"int4\", \"int5\", \"int8\"")));
  EXPECT_THAT(why_not("a/b", three, ""), AllOf(HasSubstr("several"), HasSubstr("a/b:int4")));
  EXPECT_THAT(why_not("a/b", top, "int4"), HasSubstr("no variants"));
  EXPECT_THAT(why_not("a/b", {"README.md"}, ""), HasSubstr("no checkpoint"));
}

TEST(HubSelection, OnlyWhatIsNeededIsTaken) {
  const FileNames names = {".gitattributes",    "README.md",
                           "config.json",       "generation_config.json",
                           "tokenizer.json",    "tokenizer_config.json",
                           "merges.txt",        "vocab.json",
                           "model.safetensors", "model.safetensors.index.json",
                           "mtp.safetensors",   "chat_template.jinja",
                           "int4/config.json",  "int4/model.safetensors",
                           "pytorch_model.bin"};
  EXPECT_THAT(select_files(names, "").files,
              testing::UnorderedElementsAre("config.json", "generation_config.json", "tokenizer.json",
                                            "tokenizer_config.json", "model.safetensors", "chat_template.jinja"));
  // The tokenizer that all variants share.
  const Selection variant = select_files(names, "int4");
  EXPECT_THAT(variant.files,
              testing::UnorderedElementsAre("int4/config.json", "int4/model.safetensors", "tokenizer.json"));
  EXPECT_EQ(variant.missing, "");
}

TEST(HubSelection, ShardsAreTakenWithTheirIndexAndCounted) {
  FileNames names = {"config.json",
                     "tokenizer.json",
                     "model.safetensors.index.json",
                     "model.safetensors-00001-of-00002.safetensors",
                     "model.safetensors-00002-of-00002.safetensors",
                     "consolidated.safetensors"};
  Selection selection = select_files(names, "");
  EXPECT_EQ(selection.missing, "");
  EXPECT_EQ(selection.files.size(), 5U);
  EXPECT_THAT(selection.files, testing::Not(testing::Contains("consolidated.safetensors")));
  names.erase("model.safetensors-00001-of-00002.safetensors");
  EXPECT_THAT(select_files(names, "").missing, HasSubstr("1 of 2"));
  names.insert("model.safetensors-00001-of-00002.safetensors");
  names.erase("model.safetensors.index.json");
  EXPECT_THAT(select_files(names, "").missing, HasSubstr("index.json"));
}

TEST(HubSelection, WhatIsMissingIsNamed) {
  EXPECT_EQ(select_files({"config.json", "model.safetensors"}, "").missing, "tokenizer.json");
  EXPECT_EQ(select_files({"tokenizer.json", "model.safetensors"}, "").missing, "config.json");
  EXPECT_EQ(select_files({"config.json", "tokenizer.json", "a.safetensors", "b.safetensors"}, "").missing,
            "model.safetensors");
  EXPECT_EQ(select_files({"config.json", "tokenizer.json", "a.safetensors"}, "").missing, "");
}

std::string tree_refusal(const std::string& json) {
  std::vector<RemoteFile> files;
  try {
    parse_tree(json, "of a/b", files);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_file);
    return error.what();
  }
  return "taken";
}

std::string entry(const std::string& path, const std::string& size = "3",
                  const std::string& oid = std::string(40, '0')) {
  return R"([{"type": "file", "path": ")" + path + R"(", "size": )" + size + R"(, "oid": ")" + oid + "\"}]";
}

TEST(HubListing, FilesAreRead) {
  std::vector<RemoteFile> files;
  parse_tree(entry("config.json"), "x", files);
  parse_tree(R"([{"type": "directory", "path": "../.."}, {"type": "file", "path": "m", "size": 134, "oid": "x",
                  "lfs": {"oid": ")" +
                 std::string(64, 'e') + R"(", "size": 5000000000, "pointerSize": 134}}])",
             "x", files);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].hash, std::string(40, '0'));
  EXPECT_EQ(files[1].size, 5000000000U);
  EXPECT_EQ(files[1].hash, std::string(64, 'e'));
}

TEST(HubListing, HostileOnesAreRefusedByName) {
  for (const char* path : {"../x", "/etc/passwd", "a/../../b", "a\\\\b", "a\\u001b[2J", "a\\u0000b", "a//b", "."}) {
    EXPECT_THAT(tree_refusal(entry(path)), HasSubstr("which is refused")) << path;
  }
  EXPECT_THAT(tree_refusal(entry("../../x")), HasSubstr("\"../../x\""));
  EXPECT_THAT(tree_refusal(entry(std::string(300, 'x'))), HasSubstr("longer than"));
  for (const char* size : {"-1", "1.5", "\"3\"", "null", "1099511627777", "18446744073709551616"}) {
    EXPECT_NE(tree_refusal(entry("a", size)), "taken") << size;
  }
  for (const std::string& oid : {std::string(), std::string("../../../etc/passwd"), std::string("ABCDEF"), std::string(64, 'a')}) {
    EXPECT_THAT(tree_refusal(entry("a", "3", oid)), HasSubstr("hash")) << oid;
  }
  EXPECT_THAT(tree_refusal("<html>"), HasSubstr("not JSON"));
  EXPECT_THAT(tree_refusal("{}"), HasSubstr("not an array"));
  EXPECT_THAT(tree_refusal("[1]"), HasSubstr("entry"));
  EXPECT_NE(tree_refusal(std::string(100000, '[')), "taken");
  EXPECT_EQ(parse_commit(R"({"sha": ")" + std::string(40, 'b') + "\"}", "x"), std::string(40, 'b'));
  for (const char* json : {"{}", "[]", R"({"sha": "../x"})", R"({"sha": 3})", ""}) {
    EXPECT_THROW((void)parse_commit(json, "x"), Error) << json;
  }
}

TEST(HubListing, TheNextPageIsFound) {
  EXPECT_EQ(next_page("<https://h/api/models/a/b/tree/x?cursor=Z%3D>; rel=\"next\""),
            "https://h/api/models/a/b/tree/x?cursor=Z%3D");
  EXPECT_EQ(next_page("<https://h/1>; rel=\"prev\", <https://h/2>; rel=\"next\""), "https://h/2");
  for (const char* link : {"", "<", "<x", "<x>", "<x>; rel=\"prev\"", ">x<; rel=\"next\""})
    EXPECT_EQ(next_page(link), "") << link;
}

}  // namespace
}  // namespace qwen35::hub
