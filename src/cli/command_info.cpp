#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/info.h"
#include "cli/cli.h"
#include "cli/model_download.h"
#include "cli/options.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

struct Options {
  std::string model;
  bool json = false;
};

std::size_t count_layers(const ModelConfig& config, LayerKind kind) {
  return static_cast<std::size_t>(std::count(config.layers.begin(), config.layers.end(), kind));
}

nlohmann::ordered_json to_json(const ModelWeights& weights, const CheckpointInfo& info) {
  const ModelConfig& c = weights.config;
  nlohmann::ordered_json shares = nlohmann::ordered_json::array();
  for (const StorageShare& share : info.shares) {
    shares.push_back(
        {{"storage", share.name}, {"matrices", share.matrices}, {"weights", share.weights}, {"bytes", share.bytes}});
  }
  return {{"architecture", "qwen3_5_text"},
          {"parameters", info.parameters},
          {"vocab_size", c.vocab_size},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_layers", c.num_layers()},
          {"linear_attention_layers", count_layers(c, LayerKind::linear_attention)},
          {"full_attention_layers", count_layers(c, LayerKind::full_attention)},
          {"num_heads", c.num_heads},
          {"num_kv_heads", c.num_kv_heads},
          {"head_dim", c.head_dim},
          {"rotary_dim", c.rotary_dim},
          {"linear_key_heads", c.linear_key_heads},
          {"linear_value_heads", c.linear_value_heads},
          {"linear_key_dim", c.linear_key_dim},
          {"linear_value_dim", c.linear_value_dim},
          {"conv_kernel", c.conv_kernel},
          {"tie_word_embeddings", c.tie_word_embeddings},
          {"max_positions", c.max_positions},
          {"storage", shares},
          {"matrix_bytes", info.matrix_bytes},
          {"bits_per_weight", info.bits_per_weight},
          {"bytes_per_token", info.bytes_per_token},
          {"state_bytes", info.state_bytes},
          {"kv_bytes_per_token", info.kv_bytes_per_token}};
}

std::string line(const char* label, const std::string& text) {
  std::string start = label;
  start.resize(std::max<std::size_t>(start.size() + 1, 18), ' ');
  return start + text + "\n";
}

std::string megabytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

std::string millions(std::size_t count) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f M", static_cast<double>(count) / 1e6);
  return text;
}

std::string to_text(const std::string& folder, const ModelWeights& weights, const CheckpointInfo& info) {
  const ModelConfig& c = weights.config;
  const auto n = [](std::size_t value) { return std::to_string(value); };
  char bits[32];
  std::snprintf(bits, sizeof bits, "%.2f", info.bits_per_weight);
  std::string text = line("checkpoint", folder);
  text += line("architecture", "Qwen3.5 text, dense, " + millions(info.parameters) + " parameters");
  text += line("layers", n(c.num_layers()) + ": " + n(count_layers(c, LayerKind::linear_attention)) + " linear, " +
                             n(count_layers(c, LayerKind::full_attention)) + " full attention");
  text += line("sizes", "hidden " + n(c.hidden_size) + ", MLP " + n(c.intermediate_size) + ", vocabulary " +
                            n(c.vocab_size) + (c.tie_word_embeddings ? " (head tied)" : " (own head)"));
  text += line("full attention", n(c.num_heads) + " query heads, " + n(c.num_kv_heads) + " KV heads of " +
                                     n(c.head_dim) + ", rotary on " + n(c.rotary_dim));
  text += line("linear attention", n(c.linear_key_heads) + " key heads of " + n(c.linear_key_dim) + ", " +
                                       n(c.linear_value_heads) + " value heads of " + n(c.linear_value_dim) +
                                       ", convolution over " + n(c.conv_kernel));
  text += line("context", n(c.max_positions) + " positions");
  for (const StorageShare& share : info.shares) {
    text += line("weights", n(share.matrices) + " matrices, " + millions(share.weights) + " weights, " + share.name +
                                ": " + megabytes(share.bytes));
  }
  text += line("bits a weight", std::string(bits) + ", scales and biases included");
  text += line("read a token", megabytes(info.bytes_per_token));
  text += line("state", megabytes(info.state_bytes) + ", and " + n(info.kv_bytes_per_token) +
                            " bytes a token of context (f16 keys and values)");
  return text;
}

int run_info(const Options& options) {
  const auto folder = find_model(options.model);
  const ModelWeights weights = load_weights(folder);
  const CheckpointInfo info = describe(weights);
  write_output(options.json ? to_json(weights, info).dump(2) + "\n" : to_text(folder.string(), weights, info));
  return 0;
}

}  // namespace

void add_info_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("info", "What a checkpoint holds and what running it takes");
  const auto options = std::make_shared<Options>();
  add_model_option(*command, options->model);
  command->add_flag("--json", options->json, "print one JSON object; sizes in bytes");
  command->footer("Example:\n  qwen35 info --model mini");
  command->callback([options, &run] { run = [options] { return run_info(*options); }; });
}

}  // namespace qwen35::cli
