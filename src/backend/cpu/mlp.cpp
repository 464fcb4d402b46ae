#include "backend/cpu/layers.h"

namespace qwen35::cpu {

Mlp::Mlp(const LayerWeights& weights, bool pack, ThreadPool& pool)
    : gate_proj(weights.gate_proj, pack, pool),
      up_proj(weights.up_proj, pack, pool),
      down_proj(weights.down_proj, pack, pool) {}

std::size_t Mlp::memory_bytes() const {
  return gate_proj.memory_bytes() + up_proj.memory_bytes() + down_proj.memory_bytes();
}

void Mlp::forward(Context& context, const float* x, std::size_t tokens, float* out) const {
  const std::size_t hidden = context.config.hidden_size;
  const std::size_t wide = context.config.intermediate_size;
  float* gate = context.wide.data();
  float* up = gate + tokens * wide;

  const PackedMatrix* inputs[] = {&gate_proj, &up_proj};
  context.activations.assign(x, tokens, hidden, inputs, context.kernels, context.pool);
  const Product products[] = {{&gate_proj, gate, wide}, {&up_proj, up, wide}};
  multiply(products, context.activations, context.kernels, context.pool);

  context.pool.run(tokens, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
    context.kernels.silu_mul(gate + begin * wide, up + begin * wide, (end - begin) * wide);
  });

  const PackedMatrix* output[] = {&down_proj};
  context.activations.assign(gate, tokens, wide, output, context.kernels, context.pool);
  const Product product[] = {{&down_proj, out, hidden}};
  multiply(product, context.activations, context.kernels, context.pool);
}

}  // namespace qwen35::cpu
