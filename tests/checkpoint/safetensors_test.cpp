#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint_builder.h"
#include "checkpoint/safetensors_writer.h"

namespace qwen35 {
namespace {

using testing::ElementsAre;

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "f.safetensors");
}

void expect_refused(const std::string& file, const std::vector<std::string>& parts) {
  std::vector<std::string> all = parts;
  all.emplace_back("f.safetensors");
  expect_error([&] { parse(file); }, ErrorCode::bad_file, all);
}

/// A file of 16 bytes of body with these entries of the header.
std::string with_entries(const std::string& entries) {
  return safetensors_file("{" + entries + "}", std::string(16, 'x'));
}

TEST(Safetensors, ReadsTheHeader) {
  const SafetensorsHeader header = parse(with_entries(
      R"("__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,2],"data_offsets":[8,16]},)"
      R"("empty":{"dtype":"F32","shape":[0,4],"data_offsets":[8,8]},"a":{"shape":[1],"data_offsets":[0,8],"dtype":"I64"})"));
  EXPECT_EQ(header.format, "pt");
  ASSERT_EQ(header.tensors.size(), 3U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].name, "empty");
  EXPECT_EQ(header.tensors[2].name, "b");
  EXPECT_EQ(header.tensors[2].dtype, DType::f16);
  EXPECT_THAT(header.tensors[2].shape, ElementsAre(2, 2));
  EXPECT_EQ(header.tensors[2].begin, 8U);
}

TEST(Safetensors, ReadsAScalarAndAnEmptyFile) {
  const auto header = parse(safetensors_file(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", "abcd"));
  EXPECT_TRUE(header.tensors.at(0).shape.empty());
  EXPECT_TRUE(parse(safetensors_file("{}", "")).tensors.empty());
}

TEST(Safetensors, RefusesAnyTruncation) {
  const std::string whole = file_bytes(test_data() / "reference/tiny/model.safetensors");
  for (const std::size_t size : {0UL, 7UL, 8UL, 9UL, 5000UL, 5751UL, 5752UL, whole.size() - 1}) {
    SCOPED_TRACE(size);
    expect_refused(whole.substr(0, size), {});
  }
}

TEST(Safetensors, RefusesHeaderLengthBeyondTheFile) {
  std::string file = with_entries("");
  file[0] = 100;
  expect_refused(file, {"header claims 100 bytes", "file of 26"});
  file.replace(0, 8, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
  expect_refused(file, {"header claims 18446744073709551615"});
}

TEST(Safetensors, RefusesWhatIsNotJson) {
  expect_refused(safetensors_file("not json", ""), {"not valid JSON"});
  expect_refused(safetensors_file("[1]", ""), {"expected a JSON object"});
  expect_refused(safetensors_file("", ""), {"not valid JSON"});
  expect_refused(safetensors_file("{\"\xFF\":1}", ""), {"not valid JSON"});
  const std::string deep(100'000, '[');
  expect_refused(safetensors_file("{\"a\":" + deep, ""), {"header"});
  expect_refused(safetensors_file("{\"a\":" + deep + std::string(100'000, ']') + "}", ""), {"header"});
}

TEST(Safetensors, RefusesOffsets) {
  const auto entry = [](const std::string& offsets) {
    return with_entries(R"("a":{"dtype":"BF16","shape":[8],"data_offsets":)" + offsets + "}");
  };
  EXPECT_EQ(parse(entry("[0,16]")).tensors.size(), 1U);
  expect_refused(entry("[0,17]"), {"\"a\"", "outside the body of 16 bytes"});
  expect_refused(entry("[16,0]"), {"\"a\"", "outside"});
  expect_refused(entry("[18446744073709551600,18446744073709551615]"), {"\"a\"", "outside"});
  expect_refused(entry("[0,18446744073709551616]"), {"header"});
  expect_refused(entry("[-16,0]"), {"\"a\"", "non-negative"});
  expect_refused(entry("[0.0,16]"), {"\"a\"", "non-negative"});
  expect_refused(entry("[0,8,16]"), {"\"a\"", "two"});
  expect_refused(entry("[]"), {"\"a\"", "two"});
  expect_refused(entry("null"), {"\"a\"", "two"});
  expect_refused(entry("[0,14]"), {"\"a\"", "takes 16 bytes", "hold 14"});
}

TEST(Safetensors, RefusesUnalignedTensors) {
  expect_refused(with_entries(R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                              R"("b":{"dtype":"BF16","shape":[7],"data_offsets":[1,15]},)"
                              R"("c":{"dtype":"U8","shape":[1],"data_offsets":[15,16]})"),
                 {"\"b\"", "not aligned"});
}

TEST(Safetensors, RefusesOverlapsGapsAndRepetitions) {
  const auto u8 = [](const std::string& name, std::size_t begin, std::size_t end) {
    return "\"" + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) + R"(],"data_offsets":[)" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  EXPECT_EQ(parse(with_entries(u8("a", 0, 8) + "," + u8("b", 8, 16))).tensors.size(), 2U);
  expect_refused(with_entries(u8("a", 0, 9) + "," + u8("b", 8, 16)), {"\"b\"", "overlaps", "\"a\""});
  expect_refused(with_entries(u8("a", 0, 16) + "," + u8("b", 0, 16)), {"overlaps"});
  expect_refused(with_entries(u8("a", 0, 16) + "," + u8("b", 4, 4)), {"overlaps"});
  expect_refused(with_entries(u8("a", 0, 7) + "," + u8("b", 8, 16)), {"\"b\"", "belong to no tensor"});
  expect_refused(with_entries(u8("a", 0, 8)), {"8 bytes after the last tensor"});
  expect_refused(with_entries(u8("a", 0, 8) + "," + u8("a", 8, 16)), {"\"a\"", "twice"});
}

TEST(Safetensors, RefusesShapes) {
  const auto shape = [](const std::string& text) {
    return with_entries(R"("a":{"dtype":"BF16","shape":)" + text + R"(,"data_offsets":[0,16]})");
  };
  EXPECT_EQ(parse(shape("[2,4]")).tensors.size(), 1U);
  expect_refused(shape("[4294967296,4294967296]"), {"\"a\"", "overflows", "[4294967296, 4294967296]"});
  expect_refused(shape("[9223372036854775808]"), {"\"a\"", "overflows"});  // only in bytes
  expect_refused(shape("[4294967296,4294967296,0]"), {"\"a\"", "overflows"});
  expect_refused(shape("[-8]"), {"\"a\"", "non-negative"});
  expect_refused(shape("[8.5]"), {"\"a\"", "non-negative"});
  expect_refused(shape("8"), {"\"a\"", "no shape"});
  expect_refused(shape("[1,1,1,1,1,1,1,1,8]"), {"\"a\"", "dimensions"});
}

TEST(Safetensors, RefusesDtypes) {
  expect_refused(with_entries(R"("a":{"dtype":"BF17","shape":[8],"data_offsets":[0,16]})"), {"\"a\"", "\"BF17\""});
  expect_refused(with_entries(R"("a":{"shape":[8],"data_offsets":[0,16]})"), {"\"a\"", "no dtype"});
  expect_refused(with_entries(R"("a":7)"), {"\"a\"", "no dtype"});
}

TEST(Safetensors, ErrorsAreFitForATerminal) {
  const std::string name = "evil\\u001b[2J" + std::string(1000, 'n');
  try {
    parse(with_entries("\"" + name + R"(":{"dtype":"BF17"})"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("evil?[2J"));
    EXPECT_LT(std::string(error.what()).size(), 300U);
  }
}

TEST(SafetensorsWriter, PiecesInAnyOrderMakeTheFile) {
  const TemporaryFolder temporary;
  const auto path = temporary.path() / "out.safetensors";
  SafetensorsWriter writer(path, {{"small", DType::u8, {3}}, {"words", DType::u32, {2, 1}}}, "mlx");
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  writer.write(writer.index_of("small"), 1, bytes("bc"));
  writer.write(writer.index_of("words"), 0, bytes("12345678"));
  EXPECT_THROW(writer.write(writer.index_of("words"), 4, bytes("12345")), Error);
  EXPECT_THROW((void)writer.index_of("other"), Error);
  EXPECT_THROW(writer.finish(), Error);
  writer.write(writer.index_of("small"), 0, bytes("a"));
  writer.finish();
  const LooseTensors tensors = read_tensors(path);
  EXPECT_EQ(tensors.at("small").bytes, "abc");
  EXPECT_EQ(tensors.at("words").bytes, "12345678");
  EXPECT_THROW(SafetensorsWriter(path, {}, "mlx"), Error);  // never over an existing file
}

}  // namespace
}  // namespace qwen35
