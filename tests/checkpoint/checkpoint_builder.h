#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "checkpoint/temporary_folder.h"

namespace qwen35 {

/// One tensor of a file that a test takes apart and puts together again.
struct LooseTensor {
  std::string dtype;
  std::vector<std::size_t> shape;
  std::string bytes;
};
using LooseTensors = std::map<std::string, LooseTensor>;

inline LooseTensors read_tensors(const std::filesystem::path& path) {
  const std::string file = file_bytes(path);
  const SafetensorsHeader header = parse_safetensors(std::as_bytes(std::span(file)), path.string());
  LooseTensors tensors;
  for (const TensorEntry& entry : header.tensors) {
    tensors[entry.name] = {std::string(dtype_name(entry.dtype)), entry.shape,
                           file.substr(header.body + entry.begin, entry.end - entry.begin)};
  }
  return tensors;
}

/// A safetensors file of this header text and body.
inline std::string safetensors_file(const std::string& header, const std::string& body) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xFF);
  return file + header + body;
}

/// `padding` spaces after the header move the body to another alignment.
inline std::string safetensors_file(const LooseTensors& tensors, std::size_t padding = 0) {
  auto header = nlohmann::ordered_json::object();
  std::string body;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t begin = body.size();
    body += tensor.bytes;
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, body.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8 + padding, ' ');
  return safetensors_file(text, body);
}

inline void write_checkpoint(const std::filesystem::path& folder, const std::string& config,
                             const LooseTensors& tensors, std::size_t padding = 0) {
  std::filesystem::create_directories(folder);
  write_bytes(folder / "config.json", config);
  write_bytes(folder / "model.safetensors", safetensors_file(tensors, padding));
}

/// Runs `action` and expects one Error with this code whose message holds each of `parts`.
inline void expect_error(const std::function<void()>& action, ErrorCode code, const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "no error; expected one about " << testing::PrintToString(parts);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

}  // namespace qwen35
