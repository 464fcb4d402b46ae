#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/layers.h"

namespace qwen35::cpu {
namespace {

/// Keys that one step of the online softmax takes, and tokens that share a pass over them. A page holds a whole number
/// of key blocks.
constexpr std::size_t kKeyBlock = 64;
constexpr std::size_t kTokenBlock = 8;
static_assert(kFewTokens <= kTokenBlock);
/// Keys of a span: where there are few tokens only, spans are what the threads share. A fixed length, so that results
/// do not depend on the number of threads.
constexpr std::size_t kSpan = 1024;
/// Up to this many rows the memory sets the pace: binary16 keys are converted as they are used (with more rows, once
/// into scratch), and a step takes fewer of them, so that the next values are in the first-level cache when their turn
/// comes.
constexpr std::size_t kFewRows = 8;
constexpr std::size_t kFewRowsKeyBlock = 32;
static_assert(KvCache::kPageTokens % kKeyBlock == 0 && kSpan % kKeyBlock == 0);

/// Split-half rotary embedding of the first 2 · half values.
void rotate(float* x, const float* cosines, const float* sines, std::size_t half) {
  for (std::size_t i = 0; i < half; ++i) {
    const float a = x[i];
    const float b = x[i + half];
    x[i] = a * cosines[i] - b * sines[i];
    x[i + half] = b * cosines[i] + a * sines[i];
  }
}

/// Softmax-weighted values of some keys for some rows, not yet divided by their total weight.
struct Partial {
  float* sums;     ///< rows × d: Σ e^(score − highest) v
  float* highest;  ///< rows
  float* total;    ///< rows: Σ e^(score − highest)

  static std::size_t floats(std::size_t rows, std::size_t d) { return rows * (d + 2); }
  Partial(float* at, std::size_t rows, std::size_t d) : sums(at), highest(sums + rows * d), total(highest + rows) {}
  /// From row `row` on.
  [[nodiscard]] Partial from(std::size_t row, std::size_t d) const {
    Partial part = *this;
    part.sums += row * d;
    part.highest += row;
    part.total += row;
    return part;
  }
};

/// Scratch of one task, carved out of a thread's floats.
struct Scratch {
  float* queries;  ///< rows × d
  float* scores;   ///< rows × kKeyBlock
  float* block;    ///< kKeyBlock × d: converted keys or values
  Partial partial;

  static std::size_t floats(std::size_t rows, std::size_t d) {
    return rows * (d + kKeyBlock) + kKeyBlock * d + Partial::floats(rows, d);
  }
  Scratch(float* at, std::size_t rows, std::size_t d)
      : queries(at),
        scores(queries + rows * d),
        block(scores + rows * kKeyBlock),
        partial(block + kKeyBlock * d, rows, d) {}
};

/// `count` stored rows of the cache as the products take them.
struct Block {
  const void* data;
  Element element;

  Block(const void* stored, Element stored_as, std::size_t count, std::size_t d, std::size_t rows, float* scratch,
        const Kernels& kernels)
      : data(stored), element(stored_as) {
    if (stored_as != Element::f16 || rows <= kFewRows) return;
    kernels.from_f16(static_cast<const std::uint16_t*>(stored), scratch, count * d);
    data = scratch;
    element = Element::f32;
  }
};

/// Asks for `bytes` at `data`, which will be read once.
void prefetch(const void* data, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const std::byte*>(data) + at, 0, 0);
}

/// Rows that go through attention together: `rows` of own.queries from row `first` on, `group` a token with the first
/// token at `position`. Key j is seen by tokens from position j on.
struct Together {
  std::size_t first;
  std::size_t rows;
  std::size_t group;
  std::size_t position;
  /// Of keys [begin, begin + n), those that the last token sees.
  [[nodiscard]] std::size_t keys(std::size_t begin, std::size_t n) const {
    const std::size_t seen = position + (rows - 1) / group + 1;
    return seen <= begin ? 0 : std::min(n, seen - begin);
  }
};

/// One step of online softmax: scores of keys [begin, begin + n) against the rows, and what was summed so far scaled to
/// the new maxima.
void score(const Kernels& kernels, const KvCache& cache, std::size_t kv_head, std::size_t d, const Together& these,
           std::size_t begin, std::size_t n, const Scratch& own, const Partial& to) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  float* all_scores = own.scores + these.first * kKeyBlock;
  const Block keys(cache.keys(kv_head, begin), cache.element(), n, d, these.rows, own.block, kernels);
  kernels.gemm_nt(these.rows, n, d, own.queries + these.first * d, d, keys.element, keys.data, d, all_scores,
                  kKeyBlock);
  for (std::size_t row = 0; row < these.rows; ++row) {
    float* scores = all_scores + row * kKeyBlock;
    const std::size_t seen = these.position + row / these.group + 1;  // keys 0 … its own position
    const std::size_t visible = seen <= begin ? 0 : std::min(n, seen - begin);
    std::fill(scores + visible, scores + n, 0.0F);
    if (visible == 0) continue;
    const float before = to.highest[row];
    const float sum = kernels.softmax_block(scores, visible, scale, &to.highest[row]);
    if (to.highest[row] != before) {
      const float factor = std::exp(before - to.highest[row]);  // 0 at the first block
      kernels.scale(to.sums + row * d, factor, d);
      to.total[row] *= factor;
    }
    to.total[row] += sum;
  }
}

/// Attention over keys [begin, end) of one head: online softmax over blocks of keys. `alone`: each token goes through
/// it by itself, so that its result is to the bit what it would be without the others; they only share the reading.
void attend(const Kernels& kernels, const KvCache& cache, std::size_t kv_head, std::size_t d, std::size_t group,
            std::size_t rows, bool alone, std::size_t position, std::size_t begin, std::size_t end, const Scratch& own,
            const Partial& to) {
  const std::size_t row_bytes = d * (cache.element() == Element::f32 ? 4 : 2);
  std::fill(to.sums, to.sums + rows * d, 0.0F);
  std::fill(to.total, to.total + rows, 0.0F);
  std::fill(to.highest, to.highest + rows, -std::numeric_limits<float>::infinity());
  const std::size_t at_once = alone ? group : rows;
  const bool few = at_once <= kFewRows;
  const std::size_t step = few ? kFewRowsKeyBlock : kKeyBlock;
  const auto together = [&](std::size_t first) { return Together{first, at_once, group, position + first / group}; };
  for (; begin < end; begin += step) {
    const std::size_t n = std::min(step, end - begin);
    // Each block of keys or values is asked for while the one before it is worked on: with few rows most of the time
    // would go by waiting.
    const void* stored_values = cache.values(kv_head, begin);
    if (few) prefetch(stored_values, n * row_bytes);
    for (std::size_t first = 0; first < rows; first += at_once) {
      const Together these = together(first);
      if (const std::size_t keys = these.keys(begin, n); keys > 0)
        score(kernels, cache, kv_head, d, these, begin, keys, own, to.from(first, d));
    }
    if (few && begin + step < end)
      prefetch(cache.keys(kv_head, begin + step), std::min(step, end - begin - step) * row_bytes);
    for (std::size_t first = 0; first < rows; first += at_once) {
      const std::size_t keys = together(first).keys(begin, n);
      if (keys == 0) continue;
      const Block values(stored_values, cache.element(), keys, d, at_once, own.block, kernels);
      kernels.gemm_nn(at_once, d, keys, own.scores + first * kKeyBlock, kKeyBlock, values.element, values.data, d,
                      to.sums + first * d, d, true);
    }
  }
}

/// Adds the partial result of later keys to that of earlier ones, for one row.
void merge(const Kernels& kernels, const Partial& into, const Partial& from, std::size_t row, std::size_t d) {
  const float highest = std::max(into.highest[row], from.highest[row]);
  if (highest == -std::numeric_limits<float>::infinity()) return;  // neither has seen a key
  const float keep = std::exp(into.highest[row] - highest);
  const float add = std::exp(from.highest[row] - highest);
  kernels.axpby(into.sums + row * d, keep, from.sums + row * d, add, d);
  into.total[row] = keep * into.total[row] + add * from.total[row];
  into.highest[row] = highest;
}

/// Fills context.attention and makes room for partial results; returns the number of tasks.
std::size_t share_out(Context& context, std::span<const Sequence> sequences, std::size_t kv_heads, std::size_t group,
                      std::size_t d) {
  context.attention.clear();
  std::size_t tasks = 0;
  std::size_t partials = 0;
  for (const Sequence& sequence : sequences) {
    const std::size_t token_blocks = (sequence.count + kTokenBlock - 1) / kTokenBlock;
    const std::size_t keys = sequence.state->tokens + sequence.count;
    const std::size_t spans = sequence.count <= kFewTokens ? (keys + kSpan - 1) / kSpan : 1;
    const std::size_t partial_floats = Partial::floats(std::min(sequence.count, kTokenBlock) * group, d);
    context.attention.push_back({tasks, token_blocks, spans, partials, partial_floats});
    tasks += token_blocks * kv_heads * spans;
    if (spans > 1) partials += kv_heads * spans * partial_floats;
  }
  if (partials > 0) context.partials.reserve(partials);
  return tasks;
}

}  // namespace

std::size_t thread_floats(const ModelConfig& config) {
  const std::size_t dk = config.linear_key_dim;
  const std::size_t dv = config.linear_value_dim;
  const std::size_t linear = kChunk * (2 * dk + dv) + dk * dv;
  const std::size_t rows = kTokenBlock * (config.num_heads / config.num_kv_heads);
  const std::size_t full = Scratch::floats(rows, config.head_dim);
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
                            std::span<const Sequence> sequences, std::size_t layer, float* out) const {
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
  const PackedMatrix* output[] = {&o_proj};
  multiply(products, context.activations, kernels, context.pool);

  for (const Sequence& sequence : sequences) {
    CpuState& state = *sequence.state;
    state.full[layer].make_writable(state.tokens, sequence.count, *state.memory, context.pool);
  }
  context.pool.run(tokens, row_grain(tokens, context.pool), [&](std::size_t begin, std::size_t end, std::size_t) {
    const Sequence* sequence = sequences.data();
    for (std::size_t t = begin; t < end; ++t) {
      while (t >= sequence->begin + sequence->count) ++sequence;
      KvCache& cache = sequence->state->full[layer];
      const std::size_t position = sequence->state->tokens + t - sequence->begin;
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
        cache.write_key(head, position, row, kernels);
        cache.write_value(head, position, v + (t * kv_heads + head) * d, kernels);
      }
    }
  });

  const std::size_t tasks = share_out(context, sequences, kv_heads, group, d);

  // Divides by the total weight, applies the gate and puts a row in its place.
  const auto finish = [&](const Partial& partial, std::size_t row, std::size_t kv_head, std::size_t first) {
    const std::size_t token = first + row / group;
    const std::size_t head = kv_head * group + row % group;
    float* to = y + (token * heads + head) * d;
    std::copy(partial.sums + row * d, partial.sums + (row + 1) * d, to);
    kernels.scale(to, 1.0F / partial.total[row], d);
    kernels.mul_sigmoid(to, q + (token * heads + head) * 2 * d + d, d);
  };
  const auto partial_at = [&](const AttentionWork& work, std::size_t kv_head, std::size_t span, std::size_t rows) {
    return Partial(context.partials.data() + work.partials + (kv_head * work.spans + span) * work.partial_floats, rows,
                   d);
  };

  context.pool.run(tasks, 1, [&](std::size_t task, std::size_t, std::size_t thread) {
    std::size_t index = 0;
    while (index + 1 < sequences.size() && task >= context.attention[index + 1].first_task) ++index;
    const Sequence& sequence = sequences[index];
    const AttentionWork& work = context.attention[index];
    const std::size_t position = sequence.state->tokens;
    const KvCache& cache = sequence.state->full[layer];
    const bool few = sequence.count <= kFewTokens;
    task -= work.first_task;
    // Later tokens have more keys: take them first, so that no thread is left with a long one at the end.
    const std::size_t first = (work.token_blocks - 1 - task / (kv_heads * work.spans)) * kTokenBlock;
    const std::size_t kv_head = task / work.spans % kv_heads;
    const std::size_t span = task % work.spans;
    const std::size_t count = std::min(kTokenBlock, sequence.count - first);
    const std::size_t rows = count * group;
    const Scratch own(context.threads[thread].floats.data(), rows, d);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t token = sequence.begin + first + row / group;
      const float* from = q + (token * heads + kv_head * group + row % group) * 2 * d;
      std::copy(from, from + d, own.queries + row * d);
    }
    const std::size_t limit = position + first + count;  // keys that the last token of the block sees
    if (work.spans == 1) {
      attend(kernels, cache, kv_head, d, group, rows, few, position + first, 0, limit, own, own.partial);
      for (std::size_t row = 0; row < rows; ++row) finish(own.partial, row, kv_head, sequence.begin + first);
    } else {
      attend(kernels, cache, kv_head, d, group, rows, few, position, span * kSpan, std::min((span + 1) * kSpan, limit),
             own, partial_at(work, kv_head, span, rows));
    }
  });
  const auto in_spans = [](const AttentionWork& work) { return work.spans > 1; };
  if (std::any_of(context.attention.begin(), context.attention.end(), in_spans)) {
    context.pool.run(sequences.size() * kv_heads, 1, [&](std::size_t task, std::size_t, std::size_t) {
      const Sequence& sequence = sequences[task / kv_heads];
      const AttentionWork& work = context.attention[task / kv_heads];
      const std::size_t kv_head = task % kv_heads;
      const std::size_t rows = sequence.count * group;
      if (work.spans == 1) return;
      const Partial sum = partial_at(work, kv_head, 0, rows);
      for (std::size_t row = 0; row < rows; ++row) {
        // Spans that hold a key of this token.
        const std::size_t seen = (sequence.state->tokens + row / group + kSpan) / kSpan;
        for (std::size_t span = 1; span < seen; ++span)
          merge(kernels, sum, partial_at(work, kv_head, span, rows), row, d);
        finish(sum, row, kv_head, sequence.begin);
      }
    });
  }

  context.activations.prepare(tokens, heads * d, output, kernels);
  context.activations.write_all(y, context.pool);
  const Product product[] = {{&o_proj, row_major(out, o_proj)}};
  multiply(product, context.activations, kernels, context.pool);
}

}  // namespace qwen35::cpu
