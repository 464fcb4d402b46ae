#pragma once

#include <qwen35/error.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels/dispatch.h"
#include "base/mapped_file.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/synth.h"

namespace qwen35 {

/// One prompt of a reference folder with what transformers computed for it.
struct ReferenceCase {
  std::vector<TokenId> ids;
  std::vector<float> logits;  ///< rows of the vocabulary: every position, or the last 16 of a long prompt
  std::vector<TokenId> greedy;
  std::vector<float> top2_gap;  ///< how far the best token leads at each greedy step
};

inline std::vector<ReferenceCase> read_reference(const std::filesystem::path& folder) {
  const auto json = nlohmann::json::parse(std::ifstream(folder / "reference.json"));
  const MappedFile file(folder / "reference.safetensors");
  const auto header = parse_safetensors(file.bytes(), "reference.safetensors");
  std::vector<ReferenceCase> cases;
  for (const auto& entry : json.at("cases")) {
    ReferenceCase one;
    one.ids = entry.at("input_ids").get<std::vector<TokenId>>();
    one.greedy = entry.at("greedy").get<std::vector<TokenId>>();
    one.top2_gap = entry.at("top2_gap").get<std::vector<float>>();
    const std::string name = "logits_" + std::to_string(one.ids.size());
    for (const TensorEntry& tensor : header.tensors) {
      if (tensor.name != name && tensor.name != name + "_last16") continue;
      one.logits.resize((tensor.end - tensor.begin) / sizeof(float));
      std::memcpy(one.logits.data(), file.bytes().data() + header.body + tensor.begin, tensor.end - tensor.begin);
    }
    if (one.logits.empty()) throw std::runtime_error("no " + name + " in " + folder.string());
    cases.push_back(std::move(one));
  }
  return cases;
}

inline std::filesystem::path tiny_model() { return std::filesystem::path(QWEN35_TEST_DATA) / "reference/tiny"; }

/// A folder of the reference data that the repository does not hold, or an empty path.
inline std::filesystem::path shared_reference(const std::string& name) {
  auto folder = std::filesystem::path(QWEN35_SHARED_DIR) / "reference" / name;
  return std::filesystem::exists(folder / "reference.json") ? folder : std::filesystem::path();
}

inline std::vector<const char*> isa_names() {
  std::vector<const char*> names;
  for (const auto* table : cpu::supported_kernels()) names.push_back(table->name);
  return names;
}

/// Forces an instruction set while it lives.
class ScopedIsa {
 public:
  explicit ScopedIsa(const char* isa) { setenv("QWEN35_ISA", isa, 1); }
  ~ScopedIsa() { unsetenv("QWEN35_ISA"); }
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;
};

/// A drawn checkpoint in a folder of its own, removed at the end.
class DrawnModel {
 public:
  DrawnModel(const std::filesystem::path& config, std::uint64_t seed, Quantization quantization = {})
      : folder_(std::filesystem::temp_directory_path() /
                ("qwen35-drawn-" + std::to_string(getpid()) + "-" + std::to_string(count()++))) {
    SynthOptions options;
    options.config = config;
    options.destination = folder_;
    options.seed = seed;
    options.quantization = quantization;
    synthesize(options);
  }
  ~DrawnModel() { std::filesystem::remove_all(folder_); }
  DrawnModel(const DrawnModel&) = delete;
  DrawnModel& operator=(const DrawnModel&) = delete;
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  static int& count() {
    static int value = 0;
    return value;
  }
  std::filesystem::path folder_;
};

/// The config of the tiny model, but with two value heads to each key head.
class SharedKeyHeads {
 public:
  SharedKeyHeads() {
    auto config = nlohmann::json::parse(std::ifstream(tiny_model() / "config.json"));
    config["linear_num_value_heads"] = 4;
    path_ = std::filesystem::temp_directory_path() / ("qwen35-heads-" + std::to_string(getpid()));
    std::filesystem::create_directories(path_);
    std::ofstream(path_ / "config.json") << config;
  }
  ~SharedKeyHeads() { std::filesystem::remove_all(path_); }
  SharedKeyHeads(const SharedKeyHeads&) = delete;
  SharedKeyHeads& operator=(const SharedKeyHeads&) = delete;
  [[nodiscard]] std::filesystem::path config() const { return path_ / "config.json"; }

 private:
  std::filesystem::path path_;
};

}  // namespace qwen35
