// The config.json reader on arbitrary text: it must refuse it with an Error or hand out sizes that fit together.

#include <qwen35/error.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "checkpoint/checkpoint_config.h"
#include "checkpoint/layout.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const qwen35::CheckpointConfig& config) {
  const qwen35::ModelConfig& c = config.model;
  require(c.num_layers() > 0 && c.num_heads % c.num_kv_heads == 0 && c.linear_value_heads % c.linear_key_heads == 0);
  require(c.rotary_dim % 2 == 0 && c.rotary_dim >= 2 && c.rotary_dim <= c.head_dim);
  require(c.rope_theta > 0 && c.rms_norm_eps >= 0 && c.max_positions > 0 && c.conv_kernel > 0);
  const auto quantization = config.quantization_of("layers.0.mlp.up_proj");
  require(!quantization || qwen35::is_affine_layout(static_cast<std::uint64_t>(quantization->bits),
                                                    static_cast<std::uint64_t>(quantization->group_size)));
  for (const qwen35::TensorSpec& tensor : qwen35::text_tensors(c)) {
    std::size_t bytes = sizeof(float);
    for (const std::size_t extent : tensor.shape) {
      require(extent > 0 && !__builtin_mul_overflow(bytes, extent, &bytes));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    check(qwen35::parse_checkpoint_config({reinterpret_cast<const char*>(data), size}, "fuzz"));
  } catch (const qwen35::Error&) {
    // refused, as it should be
  }
  return 0;
}
