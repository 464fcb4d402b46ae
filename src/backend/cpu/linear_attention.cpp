#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/layers.h"

namespace qwen35::cpu {
namespace {

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }
float softplus(float x) { return x > 20.0F ? x : std::log1p(std::exp(x)); }

/// The convolution's view of one pass: inputs of the pass, preceded by the late ones and by those the state remembers.
struct ConvolutionInput {
  Output rows;        ///< tokens × channels
  const float* late;  ///< late_tokens × late_stride
  std::size_t late_tokens;
  std::size_t late_stride;
  float* past;  ///< (taps - 1) × channels, oldest first
  std::size_t channels;
  std::size_t taps;

  /// Input at time `t`, counted from the first token of the pass, from channel `first` to the end of its panel.
  [[nodiscard]] const float* at(std::ptrdiff_t t, std::size_t first) const {
    if (t >= 0) {
      return rows.y + first / rows.panel * rows.panel_stride + static_cast<std::size_t>(t) * rows.stride +
             first % rows.panel;
    }
    t += static_cast<std::ptrdiff_t>(late_tokens);
    if (t >= 0) return late + static_cast<std::size_t>(t) * late_stride + first;
    return past + static_cast<std::size_t>(t + static_cast<std::ptrdiff_t>(taps) - 1) * channels + first;
  }
};

/// Rows of a panel of in_proj_qkv's result: a head, where heads are of one size and made of whole blocks.
std::size_t panel_rows(const ModelConfig& config) {
  const bool even = config.linear_key_dim == config.linear_value_dim && config.linear_key_dim % kBlockRows == 0;
  return even ? config.linear_key_dim : config.conv_channels();
}

/// Convolution and SiLU of channels [first, first + n) for times [begin, begin + count): out is count × n.
void convolve(const Context& context, const ConvolutionInput& input, const float* weights, std::size_t first,
              std::size_t n, std::ptrdiff_t begin, std::size_t count, float* out, std::vector<const float*>& rows) {
  rows.resize(input.taps);
  for (std::size_t t = 0; t < count; ++t) {
    for (std::size_t tap = 0; tap < input.taps; ++tap) {
      const auto time = begin + static_cast<std::ptrdiff_t>(t + tap) - static_cast<std::ptrdiff_t>(input.taps) + 1;
      rows[tap] = input.at(time, first);
    }
    context.kernels.conv_silu(rows.data(), weights + first, input.channels, input.taps, n, out + t * n);
  }
}

/// The state then remembers the taps - 1 inputs before time `tokens`, for channels [first, first + n).
void remember(const ConvolutionInput& input, std::size_t tokens, std::size_t first, std::size_t n) {
  for (std::size_t row = 0; row + 1 < input.taps; ++row) {
    const auto time = static_cast<std::ptrdiff_t>(tokens + row) - static_cast<std::ptrdiff_t>(input.taps) + 1;
    std::memmove(input.past + row * input.channels + first, input.at(time, first), n * sizeof(float));
  }
}

/// Puts what a pass begins with where it is to be written.
void begin_with(const float* before, std::size_t offset, std::size_t n, float* to) {
  if (before == nullptr)
    std::fill(to + offset, to + offset + n, 0.0F);
  else if (before != to)
    std::memcpy(to + offset, before + offset, n * sizeof(float));
}

}  // namespace

LinearAttention::LinearAttention(const LinearAttentionWeights& w, const ModelConfig& config, const Packing& packing)
    : in_proj_qkv(w.in_proj_qkv, packing),
      in_proj_z(w.in_proj_z, packing),
      in_proj_b(w.in_proj_b, packing),
      in_proj_a(w.in_proj_a, packing),
      out_proj(w.out_proj, packing),
      conv(w.conv.size()),
      decay(w.a_log.size()),
      weights(&w) {
  const std::size_t channels = config.conv_channels();
  for (std::size_t tap = 0; tap < config.conv_kernel; ++tap) {
    for (std::size_t c = 0; c < channels; ++c) conv[tap * channels + c] = w.conv[c * config.conv_kernel + tap];
  }
  for (std::size_t head = 0; head < decay.size(); ++head) decay[head] = std::exp(w.a_log[head]);
}

std::size_t LinearAttention::memory_bytes() const {
  return in_proj_qkv.memory_bytes() + in_proj_z.memory_bytes() + in_proj_b.memory_bytes() + in_proj_a.memory_bytes() +
         out_proj.memory_bytes() + (conv.size() + decay.size()) * sizeof(float);
}

void LinearAttention::forward(Context& context, const float* x, const std::vector<float>& norm, std::size_t tokens,
                              std::span<const Sequence> sequences, std::size_t layer, float* out) const {
  const ModelConfig& config = context.config;
  const Kernels& kernels = context.kernels;
  const std::size_t dk = config.linear_key_dim;
  const std::size_t dv = config.linear_value_dim;
  const std::size_t key_heads = config.linear_key_heads;
  const std::size_t value_heads = config.linear_value_heads;
  const std::size_t shared = value_heads / key_heads;  // value heads that one key head serves
  const std::size_t channels = config.conv_channels();
  const std::size_t values = value_heads * dv;

  float* qkv = context.wide.data();
  float* z = qkv + tokens * channels;
  float* y = z + tokens * values;
  float* b = y + tokens * values;
  float* a = b + tokens * value_heads;

  const PackedMatrix* inputs[] = {&in_proj_qkv, &in_proj_z, &in_proj_b, &in_proj_a};
  normalize(context, x, tokens, norm, inputs);
  const std::size_t panel = panel_rows(config);
  const Output qkv_out{qkv, panel, panel, tokens * panel};
  const Product products[] = {{&in_proj_qkv, qkv_out},
                              {&in_proj_z, row_major(z, in_proj_z)},
                              {&in_proj_b, row_major(b, in_proj_b)},
                              {&in_proj_a, row_major(a, in_proj_a)}};
  const PackedMatrix* output[] = {&out_proj};
  multiply(products, context.activations, kernels, context.pool);

  const std::size_t stride = channels + 2 * value_heads;  // of inputs that the state keeps
  const float query_scale = 1.0F / std::sqrt(static_cast<float>(dk));
  context.pool.run(sequences.size() * key_heads, 1, [&](std::size_t task, std::size_t, std::size_t thread) {
    const Sequence& sequence = sequences[task / key_heads];
    const std::size_t head = task % key_heads;
    const std::size_t own_tokens = sequence.count;
    const LinearState state = sequence.state->linear(layer, sequence.pass);
    const Output own_qkv{qkv + sequence.begin * panel, panel, panel, tokens * panel};
    const ConvolutionInput input{own_qkv,    state.late, state.late_tokens, stride,
                                 state.conv, channels,   config.conv_kernel};
    Context::Thread& own = context.threads[thread];
    float* q = own.floats.data();
    float* k = q + kChunk * dk;
    float* v = k + kChunk * dk;
    float* unsaved_s = v + kChunk * dv;
    float beta[kChunk];
    float log_decay[kChunk];
    thread_local std::vector<const float*> rows;
    const std::size_t first_q = head * dk;
    const std::size_t first_k = key_heads * dk + first_q;
    const auto first_v = [&](std::size_t value_head) { return 2 * key_heads * dk + value_head * dv; };
    const auto gates = [&](std::size_t t, std::size_t value_head, float b_input, float a_input) {
      beta[t] = sigmoid(b_input);
      log_decay[t] = -decay[value_head] * softplus(a_input + weights->dt_bias[value_head]);
    };
    // Calls f(first, n) for the channels of this head: q, k and v, none of which crosses a panel.
    const auto each_range = [&](auto&& f) {
      f(first_q, dk);
      f(first_k, dk);
      for (std::size_t value_head = head * shared; value_head < (head + 1) * shared; ++value_head)
        f(first_v(value_head), dv);
    };

    each_range([&](std::size_t first, std::size_t n) {
      for (std::size_t row = 0; row + 1 < config.conv_kernel; ++row)
        begin_with(state.conv_before, row * channels + first, n, state.conv);
    });
    // Each S now, when it is about to be read anyway, and with it the late tokens, of which nothing but S is wanted.
    const std::size_t late = state.late_tokens;
    const auto late_begin = -static_cast<std::ptrdiff_t>(late);
    convolve(context, input, conv.data(), first_k, dk, late_begin, late, k, rows);
    for (std::size_t t = 0; t < late; ++t) kernels.l2_norm(k + t * dk, dk, 1.0F);
    for (std::size_t value_head = head * shared; value_head < (head + 1) * shared; ++value_head) {
      begin_with(state.s_before, value_head * dk * dv, dk * dv, state.s);
      convolve(context, input, conv.data(), first_v(value_head), dv, late_begin, late, v, rows);
      for (std::size_t t = 0; t < late; ++t) {
        const float* at = state.late + t * stride + channels + value_head;
        gates(t, value_head, at[0], at[value_heads]);
      }
      own.delta.steps(kernels, state.s + value_head * dk * dv, late, k, k, v, log_decay, beta, v, dv);
    }

    for (std::size_t begin = 0; begin < own_tokens; begin += kChunk) {
      const std::size_t count = std::min(kChunk, own_tokens - begin);
      const auto time = static_cast<std::ptrdiff_t>(begin);
      convolve(context, input, conv.data(), first_q, dk, time, count, q, rows);
      convolve(context, input, conv.data(), first_k, dk, time, count, k, rows);
      for (std::size_t t = 0; t < count; ++t) {
        kernels.l2_norm(q + t * dk, dk, query_scale);
        kernels.l2_norm(k + t * dk, dk, 1.0F);
      }
      for (std::size_t value_head = head * shared; value_head < (head + 1) * shared; ++value_head) {
        convolve(context, input, conv.data(), first_v(value_head), dv, time, count, v, rows);
        for (std::size_t t = 0; t < count; ++t) {
          const std::size_t at = (sequence.begin + begin + t) * value_heads + value_head;
          gates(t, value_head, b[at], a[at]);
        }
        float* y_head = y + (sequence.begin + begin) * values + value_head * dv;
        const float* z_head = z + (sequence.begin + begin) * values + value_head * dv;
        float* s = state.s + value_head * dk * dv;
        if (state.verified != nullptr) {
          std::copy(s, s + dk * dv, unsaved_s);
          s = unsaved_s;
        }
        if (own_tokens <= kFewTokens)
          own.delta.steps(kernels, s, count, q, k, v, log_decay, beta, y_head, values);
        else
          own.delta.run(kernels, s, count, q, k, v, log_decay, beta, y_head, values);
        for (std::size_t t = 0; t < count; ++t) {
          kernels.rms_norm(y_head + t * values, weights->norm.data(), dv, config.rms_norm_eps, y_head + t * values);
          kernels.mul_silu(y_head + t * values, z_head + t * values, dv);
        }
      }
    }

    const std::size_t saved = state.verified == nullptr ? own_tokens : 0;  // where the time of conv and s ends
    each_range([&](std::size_t first, std::size_t n) { remember(input, saved, first, n); });
    if (state.verified == nullptr) return;
    for (std::size_t t = 0; t < own_tokens; ++t) {
      float* to = state.verified + t * stride;
      each_range([&](std::size_t first, std::size_t n) {
        std::copy_n(input.at(static_cast<std::ptrdiff_t>(t), first), n, to + first);
      });
      for (std::size_t value_head = head * shared; value_head < (head + 1) * shared; ++value_head) {
        const std::size_t at = (sequence.begin + t) * value_heads + value_head;
        to[channels + value_head] = b[at];
        to[channels + value_heads + value_head] = a[at];
      }
    }
  });

  context.activations.prepare(tokens, values, output, kernels);
  context.activations.write_all(y, context.pool);
  const Product product[] = {{&out_proj, row_major(out, out_proj)}};
  multiply(product, context.activations, kernels, context.pool);
}

}  // namespace qwen35::cpu
