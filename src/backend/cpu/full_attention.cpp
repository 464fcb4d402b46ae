#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/layers.h"

namespace qwen35::cpu {
namespace {

/// Keys that one step of the online softmax takes, and tokens that share a pass over them. A page holds a whole number
/// of key blocks.
constexpr std::size_t kKeyBlock = 32;
constexpr std::size_t kTokenBlock = 16;
static_assert(KvCache::kPageTokens % kKeyBlock == 0);

/// Split-half rotary embedding of the first 2 · half values.
void rotate(float* x, const float* cosines, const float* sines, std::size_t half) {
  for (std::size_t i = 0; i < half; ++i) {
    const float a = x[i];
    const float b = x[i + half];
    x[i] = a * cosines[i] - b * sines[i];
    x[i + half] = b * cosines[i] + a * sines[i];
  }
}

/// Scratch of one attention task, carved out of a thread's floats.
struct Scratch {
  float* queries;  ///< rows × d
  float* sums;     ///< rows × d: running Σ p v
  float* scores;   ///< rows × kKeyBlock
  float* block;    ///< kKeyBlock × d: converted keys or values
  float* highest;  ///< rows
  float* total;    ///< rows

  Scratch(float* floats, std::size_t rows, std::size_t d)
      : queries(floats),
        sums(queries + rows * d),
        scores(sums + rows * d),
        block(scores + rows * kKeyBlock),
        highest(block + kKeyBlock * d),
        total(highest + rows) {}
};

}  // namespace

std::size_t thread_floats(const ModelConfig& config) {
  const std::size_t linear = kChunk * (2 * config.linear_key_dim + config.linear_value_dim);
  const std::size_t rows = kTokenBlock * (config.num_heads / config.num_kv_heads);
  const std::size_t full = rows * (2 * config.head_dim + kKeyBlock + 2) + kKeyBlock * config.head_dim;
  return std::max({linear, full, config.hidden_size});
}

FullAttention::FullAttention(const FullAttentionWeights& w, const Packing& packing)
    : q_proj(w.q_proj, packing),
      k_proj(w.k_proj, packing),
      v_proj(w.v_proj, packing),
      o_proj(w.o_proj, packing),
      weights(&w) {}

std::size_t FullAttention::memory_bytes() const {
  return q_proj.memory_bytes() + k_proj.memory_bytes() + v_proj.memory_bytes() + o_proj.memory_bytes();
}

void FullAttention::forward(Context& context, const float* x, const std::vector<float>& norm, std::size_t tokens,
                            std::size_t position, KvCache& cache, float* out) const {
  const ModelConfig& config = context.config;
  const Kernels& kernels = context.kernels;
  const std::size_t d = config.head_dim;
  const std::size_t heads = config.num_heads;
  const std::size_t kv_heads = config.num_kv_heads;
  const std::size_t group = heads / kv_heads;  // query heads that one KV head serves
  const std::size_t half = config.rotary_dim / 2;
  const float eps = config.rms_norm_eps;

  float* q = context.wide.data();  // tokens × heads × (query, gate)
  float* k = q + tokens * heads * 2 * d;
  float* v = k + tokens * kv_heads * d;
  float* y = v + tokens * kv_heads * d;

  const PackedMatrix* inputs[] = {&q_proj, &k_proj, &v_proj};
  normalize(context, x, tokens, norm, inputs);
  const Product products[] = {
      {&q_proj, row_major(q, q_proj)}, {&k_proj, row_major(k, k_proj)}, {&v_proj, row_major(v, v_proj)}};
  multiply(products, context.activations, kernels, context.pool);

  cache.reserve(position + tokens);
  context.pool.run(tokens, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      const float* cosines = context.cosines.data() + t * half;
      const float* sines = context.sines.data() + t * half;
      for (std::size_t head = 0; head < heads; ++head) {
        float* row = q + (t * heads + head) * 2 * d;
        kernels.rms_norm(row, weights->q_norm.data(), d, eps, row);
        rotate(row, cosines, sines, half);
      }
      for (std::size_t head = 0; head < kv_heads; ++head) {
        float* row = k + (t * kv_heads + head) * d;
        kernels.rms_norm(row, weights->k_norm.data(), d, eps, row);
        rotate(row, cosines, sines, half);
        cache.write_key(head, position + t, row, kernels);
        cache.write_value(head, position + t, v + (t * kv_heads + head) * d, kernels);
      }
    }
  });

  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  const std::size_t token_blocks = (tokens + kTokenBlock - 1) / kTokenBlock;
  context.pool.run(token_blocks * kv_heads, 1, [&](std::size_t task, std::size_t, std::size_t thread) {
    // Later tokens have more keys: take them first, so that no thread is left with a long one at the end.
    const std::size_t first = (token_blocks - 1 - task / kv_heads) * kTokenBlock;
    const std::size_t kv_head = task % kv_heads;
    const std::size_t count = std::min(kTokenBlock, tokens - first);
    const std::size_t rows = count * group;
    const Scratch own(context.threads[thread].floats.data(), rows, d);
    for (std::size_t row = 0; row < rows; ++row) {
      const float* from = q + ((first + row / group) * heads + kv_head * group + row % group) * 2 * d;
      std::copy(from, from + d, own.queries + row * d);
    }
    std::fill(own.sums, own.sums + rows * d, 0.0F);
    std::fill(own.total, own.total + rows, 0.0F);
    std::fill(own.highest, own.highest + rows, -std::numeric_limits<float>::infinity());

    const std::size_t limit = position + first + count;  // keys that the last token of the block sees
    for (std::size_t begin = 0; begin < limit; begin += kKeyBlock) {
      const std::size_t n = std::min(kKeyBlock, limit - begin);
      const float* keys = cache.keys(kv_head, begin, n, own.block, kernels);
      kernels.gemm_nt(rows, n, d, own.queries, d, Element::f32, keys, d, own.scores, kKeyBlock);
      for (std::size_t row = 0; row < rows; ++row) {
        float* scores = own.scores + row * kKeyBlock;
        const std::size_t seen = position + first + row / group + 1;  // keys 0 … its own position
        const std::size_t visible = seen <= begin ? 0 : std::min(n, seen - begin);
        std::fill(scores + visible, scores + n, 0.0F);
        if (visible == 0) continue;
        const float before = own.highest[row];
        const float sum = kernels.softmax_block(scores, visible, scale, &own.highest[row]);
        if (own.highest[row] != before) {
          const float factor = std::exp(before - own.highest[row]);  // 0 at the first block
          kernels.scale(own.sums + row * d, factor, d);
          own.total[row] *= factor;
        }
        own.total[row] += sum;
      }
      const float* values = cache.values(kv_head, begin, n, own.block, kernels);
      kernels.gemm_nn(rows, d, n, own.scores, kKeyBlock, values, d, own.sums, d, true);
    }
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t token = first + row / group;
      const std::size_t head = kv_head * group + row % group;
      float* to = y + (token * heads + head) * d;
      std::copy(own.sums + row * d, own.sums + (row + 1) * d, to);
      kernels.scale(to, 1.0F / own.total[row], d);
      kernels.mul_sigmoid(to, q + (token * heads + head) * 2 * d + d, d);
    }
  });

  const PackedMatrix* output[] = {&o_proj};
  context.activations.prepare(tokens, heads * d, output, kernels);
  context.activations.write_all(y, context.pool);
  const Product product[] = {{&o_proj, row_major(out, o_proj)}};
  multiply(product, context.activations, kernels, context.pool);
}

}  // namespace qwen35::cpu
