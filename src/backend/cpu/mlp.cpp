#include "backend/cpu/layers.h"

namespace qwen35::cpu {

Mlp::Mlp(const LayerWeights& weights, const Packing& packing)
    : gate_proj(weights.gate_proj, packing), up_proj(weights.up_proj, packing), down_proj(weights.down_proj, packing) {}

std::size_t Mlp::memory_bytes() const {
  return gate_proj.memory_bytes() + up_proj.memory_bytes() + down_proj.memory_bytes();
}

void Mlp::forward(Context& context, const float* x, const std::vector<float>& norm, std::size_t tokens,
                  float* out) const {
  const std::size_t wide = context.config.intermediate_size;
  float* gate = context.wide.data();
  float* up = gate + tokens * wide;

  const PackedMatrix* inputs[] = {&gate_proj, &up_proj};
  normalize(context, x, tokens, norm, inputs);
  const Product products[] = {{&gate_proj, row_major(gate, gate_proj)}, {&up_proj, row_major(up, up_proj)}};
  const PackedMatrix* output[] = {&down_proj};
  multiply(products, context.activations, context.kernels, context.pool);

  context.activations.prepare(tokens, wide, output, context.kernels);
  context.pool.run(tokens, row_grain(tokens, context.pool), [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t token = begin; token < end; ++token) {
      context.kernels.silu_mul(gate + token * wide, up + token * wide, wide);
      context.activations.write(token, gate + token * wide);
    }
  });
  const Product product[] = {{&down_proj, row_major(out, down_proj)}};
  multiply(product, context.activations, context.kernels, context.pool);
}

}  // namespace qwen35::cpu
