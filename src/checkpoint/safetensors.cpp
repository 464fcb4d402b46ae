#include "checkpoint/safetensors.h"

#include <qwen35/error.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <unordered_set>

#include "checkpoint/json_document.h"

namespace qwen35 {
namespace {

struct TypeRow {
  DType type;
  std::string_view name;
  std::size_t size;
};

constexpr std::array<TypeRow, 15> types{{{DType::boolean, "BOOL", 1},
                                         {DType::u8, "U8", 1},
                                         {DType::i8, "I8", 1},
                                         {DType::f8_e5m2, "F8_E5M2", 1},
                                         {DType::f8_e4m3, "F8_E4M3", 1},
                                         {DType::u16, "U16", 2},
                                         {DType::i16, "I16", 2},
                                         {DType::f16, "F16", 2},
                                         {DType::bf16, "BF16", 2},
                                         {DType::u32, "U32", 4},
                                         {DType::i32, "I32", 4},
                                         {DType::f32, "F32", 4},
                                         {DType::u64, "U64", 8},
                                         {DType::i64, "I64", 8},
                                         {DType::f64, "F64", 8}}};

constexpr std::size_t length_bytes = 8;
constexpr std::size_t longest_header = 100'000'000;  // the limit of the format's own library
constexpr std::size_t most_dimensions = 8;

[[noreturn]] void refuse(std::string_view source, const std::string& what) {
  throw Error(ErrorCode::bad_file, std::string(source) + ": " + what);
}

std::optional<std::size_t> product(std::size_t a, std::size_t b) {
  if (b != 0 && a > std::numeric_limits<std::size_t>::max() / b) return std::nullopt;
  return a * b;
}

/// Reads one entry of the header; `label` names file and tensor in errors.
TensorEntry parse_entry(std::string_view name, simdjson::dom::element value, std::size_t body_size,
                        const std::string& label) {
  TensorEntry entry;
  entry.name = name;

  std::string_view dtype;
  if (value["dtype"].get(dtype)) refuse(label, "no dtype");
  const auto* row = std::find_if(types.begin(), types.end(), [&](const TypeRow& t) { return t.name == dtype; });
  if (row == types.end()) refuse(label, "unknown dtype " + quote(dtype));
  entry.dtype = row->type;

  simdjson::dom::array shape;
  if (value["shape"].get(shape)) refuse(label, "no shape");
  std::optional<std::size_t> bytes = row->size;
  for (const simdjson::dom::element dimension : shape) {
    std::uint64_t extent = 0;
    if (dimension.get(extent)) refuse(label, "the shape holds something other than a non-negative integer");
    if (entry.shape.size() == most_dimensions) {
      refuse(label, "more than " + std::to_string(most_dimensions) + " dimensions");
    }
    entry.shape.push_back(extent);
    bytes = bytes ? product(*bytes, extent) : bytes;
  }
  if (!bytes) refuse(label, "the shape " + shape_text(entry.shape) + " overflows");

  simdjson::dom::array offsets;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  if (value["data_offsets"].get(offsets) || offsets.size() != 2 || offsets.at(0).get(begin) || offsets.at(1).get(end)) {
    refuse(label, "data_offsets must be two non-negative integers");
  }
  const std::string range = "bytes " + std::to_string(begin) + " to " + std::to_string(end);
  if (begin > end || end > body_size) {
    refuse(label, range + " lie outside the body of " + std::to_string(body_size) +
                      " bytes; the file is damaged or was not downloaded whole");
  }
  if (end - begin != *bytes) {
    refuse(label, std::string(dtype) + " " + shape_text(entry.shape) + " takes " + std::to_string(*bytes) +
                      " bytes, but its data_offsets hold " + std::to_string(end - begin));
  }
  if (begin % row->size != 0) refuse(label, range + " are not aligned to the " + std::string(dtype) + " element size");
  entry.begin = begin;
  entry.end = end;
  return entry;
}

/// The bytes must follow each other from 0 to the body's size. Empty tensors sort before what starts where they stand.
void check_coverage(const std::vector<TensorEntry>& tensors, std::size_t body_size, std::string_view source) {
  std::size_t covered = 0;
  const TensorEntry* previous = nullptr;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.begin < covered) {
      refuse(source, "tensor " + quote(tensor.name) + " overlaps tensor " + quote(previous->name) + " at byte " +
                         std::to_string(tensor.begin));
    }
    if (tensor.begin > covered) {
      refuse(source, "bytes " + std::to_string(covered) + " to " + std::to_string(tensor.begin) + " before tensor " +
                         quote(tensor.name) + " belong to no tensor");
    }
    covered = tensor.end;
    previous = &tensor;
  }
  if (covered != body_size) {
    refuse(source, std::to_string(body_size - covered) + " bytes after the last tensor belong to no tensor");
  }
}

}  // namespace

std::size_t dtype_size(DType type) { return types[static_cast<std::size_t>(type)].size; }

std::string_view dtype_name(DType type) { return types[static_cast<std::size_t>(type)].name; }

std::string shape_text(std::span<const std::size_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view source) {
  if (file.size() < length_bytes) refuse(source, "too short to be a safetensors file");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
  if (length > file.size() - length_bytes || length > longest_header) {
    refuse(source, "the header claims " + std::to_string(length) + " bytes of a file of " +
                       std::to_string(file.size()) + "; the file is damaged or was not downloaded whole");
  }

  SafetensorsHeader header;
  header.body = length_bytes + length;
  const std::size_t body_size = file.size() - header.body;
  const auto* text = reinterpret_cast<const char*>(file.data()) + length_bytes;
  const JsonDocument document({text, static_cast<std::size_t>(length)}, std::string(source) + ": header");

  std::unordered_set<std::string_view> names;
  for (const auto& [key, value] : document.root()) {
    if (!names.insert(key).second) refuse(source, "tensor " + quote(key) + " appears twice in the header");
    if (key == "__metadata__") {
      std::string_view format;
      if (!value["format"].get(format)) header.format = format;
      continue;
    }
    header.tensors.push_back(parse_entry(key, value, body_size, std::string(source) + ": tensor " + quote(key)));
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  check_coverage(header.tensors, body_size, source);
  return header;
}

}  // namespace qwen35
