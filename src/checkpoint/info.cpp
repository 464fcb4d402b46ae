#include "checkpoint/info.h"

#include <algorithm>

namespace qwen35 {
namespace {

std::string storage_name(const WeightMatrix& matrix) {
  if (const auto* affine = std::get_if<AffineMatrix>(&matrix.storage)) {
    return std::to_string(affine->bits) + " bits, groups of " + std::to_string(affine->group_size);
  }
  switch (std::get<DenseMatrix>(matrix.storage).type) {
    case FloatType::bf16:
      return "bf16";
    case FloatType::f16:
      return "f16";
    case FloatType::f32:
      break;
  }
  return "f32";
}

void add_share(std::vector<StorageShare>& shares, const WeightMatrix& matrix) {
  const std::string name = storage_name(matrix);
  auto share = std::find_if(shares.begin(), shares.end(), [&](const StorageShare& s) { return s.name == name; });
  if (share == shares.end()) share = shares.insert(shares.end(), {name, 0, 0, 0});
  ++share->matrices;
  share->weights += matrix.rows * matrix.cols;
  share->bytes += matrix.bytes();
}

}  // namespace

CheckpointInfo describe(const ModelWeights& weights) {
  CheckpointInfo info;
  info.parameters = weights.parameters;
  std::size_t matrix_weights = 0;
  for (const WeightMatrix* matrix : weights.matrices()) {
    add_share(info.shares, *matrix);
    info.matrix_bytes += matrix->bytes();
    matrix_weights += matrix->rows * matrix->cols;
  }
  std::sort(info.shares.begin(), info.shares.end(),
            [](const StorageShare& a, const StorageShare& b) { return a.bytes > b.bytes; });
  info.bits_per_weight = 8.0 * static_cast<double>(info.matrix_bytes) / static_cast<double>(matrix_weights);
  info.bytes_per_token = info.matrix_bytes;
  if (weights.lm_head) {
    info.bytes_per_token -= weights.embedding.bytes() - weights.embedding.bytes() / weights.embedding.rows;
  }

  const ModelConfig& c = weights.config;
  for (const LayerKind kind : c.layers) {
    if (kind == LayerKind::linear_attention) {
      const std::size_t s = c.linear_value_heads * c.linear_key_dim * c.linear_value_dim;
      info.state_bytes += (s + c.conv_channels() * (c.conv_kernel - 1)) * sizeof(float);
    } else {
      info.kv_bytes_per_token += 2 * c.num_kv_heads * c.head_dim * 2;
    }
  }
  return info;
}

}  // namespace qwen35
