#include "chat/model.h"

#include <qwen35/error.h>

#include <algorithm>
#include <future>
#include <optional>
#include <string_view>
#include <utility>

#include "chat/model_locator.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/weights.h"
#include "hub/cache.h"

namespace qwen35 {
namespace {

TokenId required(const Tokenizer& tokenizer, std::string_view text) {
  const std::optional<TokenId> id = tokenizer.added_token(text);
  if (!id) {
    throw Error(ErrorCode::bad_file, "tokenizer.json has no added token \"" + std::string(text) +
                                         "\"; a chat needs the tokenizer of a Qwen3.5 chat model");
  }
  return *id;
}

/// Bits a stored weight takes, scales and biases included.
double bits_per_weight(const ModelWeights& weights) {
  double bits = 0;
  double values = 0;
  for (const WeightMatrix* matrix : weights.matrices()) {
    bits += 8.0 * static_cast<double>(matrix->bytes());
    values += static_cast<double>(matrix->rows) * static_cast<double>(matrix->cols);
  }
  return values > 0 ? bits / values : 0;
}

/// The last part of the path, also for "folder/" and "."; for a folder of the cache of models the hub's id.
std::string folder_name(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::path whole = std::filesystem::weakly_canonical(folder, error);
  if (error) whole = folder.lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  if (std::string name = hub::name_of_folder(whole); !name.empty()) return name;
  return whole.filename().string();
}

}  // namespace

ControlTokens::ControlTokens(const Tokenizer& tokenizer)
    : im_start(required(tokenizer, "<|im_start|>")),
      im_end(required(tokenizer, "<|im_end|>")),
      endoftext(required(tokenizer, "<|endoftext|>")),
      think(required(tokenizer, "<think>")),
      think_end(required(tokenizer, "</think>")),
      tool_call(tokenizer.added_token("<tool_call>").value_or(-1)),
      tool_call_end(tokenizer.added_token("</tool_call>").value_or(-1)),
      close_thinking(tokenizer.encode_with_special("\n</think>\n\n")),
      blank_line(tokenizer.encode(std::string_view("\n\n"))),
      close_thinking_line(tokenizer.encode_with_special("</think>\n\n")) {}

Model::Model(Tokenizer tokenizer_in, std::unique_ptr<Backend> backend_in, ModelInfo info_in, std::size_t context)
    : tokenizer(std::move(tokenizer_in)),
      backend(std::move(backend_in)),
      control(tokenizer),
      vocabulary(tokenizer.size()),
      info(std::move(info_in)),
      batcher(*backend) {
  const ModelConfig& config = backend->config();
  if (vocabulary > config.vocab_size) {
    throw Error(ErrorCode::bad_file, "tokenizer.json has ids up to " + std::to_string(vocabulary - 1) +
                                         " but config.json says vocab_size " + std::to_string(config.vocab_size) +
                                         "; the two files are not of the same model");
  }
  if (context > config.max_positions) {
    throw Error(ErrorCode::invalid_argument, "context is " + std::to_string(context) + " tokens but the model has " +
                                                 std::to_string(config.max_positions) +
                                                 " positions; give at most that, or 0 for all of them");
  }
  info.context = context == 0 ? config.max_positions : context;
  info.backend = backend->description();
}

std::unique_ptr<Model> load_model(const std::filesystem::path& folder, const LoadOptions& options,
                                  const BackendWrapper& wrap) {
  ModelInfo info;
  info.name = folder_name(folder);
  const std::filesystem::path vocabulary = tokenizer_file(folder);
  // A missing one is said before the weights are read: it is the part most often missing.
  if (std::error_code error; !std::filesystem::exists(vocabulary, error)) Tokenizer::from_file(vocabulary);
  // The vocabulary is read beside the weights: each takes a good part of the time to the first token.
  auto tokenizer = std::async(std::launch::async, [&] { return Tokenizer::from_file(vocabulary); });
  ModelWeights weights = load_weights(folder);
  info.parameters = weights.parameters;
  info.bits_per_weight = bits_per_weight(weights);
  const std::uint64_t identity = fingerprint(weights);
  BackendOptions backend_options{.kind = options.backend, .threads = options.threads, .float32 = options.float32};
  std::unique_ptr<Backend> backend = make_backend(std::move(weights), backend_options);
  if (wrap) backend = wrap(std::move(backend));
  auto model = std::make_unique<Model>(tokenizer.get(), std::move(backend), std::move(info), options.context);
  model->fingerprint = identity;
  return model;
}

}  // namespace qwen35
