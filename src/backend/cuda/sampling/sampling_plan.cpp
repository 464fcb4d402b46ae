#include "backend/cuda/sampling/sampling_plan.h"

#include <algorithm>

namespace qwen35::cuda {

void SamplingPlan::add(const float* logits, const SampleRequest& request, bool follows) {
  const SamplerOptions& options = *request.options;
  const std::size_t first = changes_.size();
  if (slots_.size() < request.vocabulary) slots_.resize(request.vocabulary);
  // Nothing below may throw: the table would stay filled.
  changes_.reserve(first + request.barred.size() + options.logit_bias.size() + request.history.size() +
                   request.generated.size());
  rows_.reserve(rows_.size() + 1);

  for (const TokenId id : request.barred) {
    if (LogitChange* change = change_of(id, request.vocabulary)) change->marks |= LogitChange::kBarred;
  }
  for (const LogitBias& item : options.logit_bias) {
    LogitChange* change = change_of(item.token, request.vocabulary);
    if (change == nullptr) continue;
    if ((change->marks & LogitChange::kBiased) == 0) {
      change->marks |= LogitChange::kBiased;
      change->bias = item.bias;
      continue;
    }
    while (change->next != 0) change = &changes_[first + change->next - 1];
    change->next = static_cast<std::uint32_t>(changes_.size() - first + 1);  // before the new one moves them all
    changes_.push_back({.bias = item.bias});
  }
  if (options.repetition_penalty != 1 && options.repetition_window != 0) {
    const std::size_t window = std::min(request.history.size(), static_cast<std::size_t>(options.repetition_window));
    for (const TokenId id : request.history.last(window)) {
      if (LogitChange* change = change_of(id, request.vocabulary)) change->marks |= LogitChange::kRepeated;
    }
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    for (const TokenId id : request.generated) {
      if (LogitChange* change = change_of(id, request.vocabulary)) ++change->marks;
    }
  }

  for (std::size_t i = first; i < changes_.size(); ++i) {
    if (changes_[i].id != LogitChange::kNobody) slots_[changes_[i].id] = 0;
  }
  RowPlan row;
  row.logits = logits;
  std::copy(request.random.begin(), request.random.end(), row.random);
  row.vocabulary = static_cast<std::uint32_t>(request.vocabulary);
  row.first_change = static_cast<std::uint32_t>(first);
  row.changes = static_cast<std::uint32_t>(changes_.size() - first);
  row.top_k = options.temperature == 0 ? 1 : static_cast<std::uint32_t>(options.top_k);
  row.temperature = options.temperature;
  row.top_p = options.top_p;
  row.min_p = options.min_p;
  row.repetition_penalty = options.repetition_penalty;
  row.presence_penalty = options.presence_penalty;
  row.frequency_penalty = options.frequency_penalty;
  const std::size_t index = rows_.size();
  row.chain_first = static_cast<std::uint32_t>(index);
  rows_.push_back(row);
  if (!follows) return;
  const std::uint32_t begin = rows_[index - 1].chain_first;
  const auto length = static_cast<std::uint32_t>(index + 1 - begin);
  for (std::size_t i = begin; i <= index; ++i) {
    rows_[i].chain_first = begin;
    rows_[i].chain = length;
  }
}

/// The token's change, made when it has none yet; nullptr outside the vocabulary. Valid until the next is made.
LogitChange* SamplingPlan::change_of(TokenId id, std::size_t vocabulary) {
  if (id < 0 || static_cast<std::size_t>(id) >= vocabulary) return nullptr;
  std::uint32_t& slot = slots_[static_cast<std::size_t>(id)];
  if (slot == 0) {
    changes_.push_back({.id = static_cast<std::uint32_t>(id)});
    slot = static_cast<std::uint32_t>(changes_.size());
  }
  return &changes_[slot - 1];
}

}  // namespace qwen35::cuda
