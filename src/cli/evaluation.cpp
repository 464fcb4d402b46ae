#include "cli/evaluation.h"

#include <qwen35/error.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "checkpoint/weights.h"
#include "cli/model_download.h"
#include "cli/progress.h"

namespace qwen35::cli {

std::unique_ptr<Backend> load_backend(const std::string& model, const LoadOptions& options, bool fast) {
  const Notice notice("loading " + model);
  const BackendOptions backend{.kind = options.backend, .threads = options.threads, .float32 = !fast};
  return make_backend(load_weights(find_model(model)), backend);
}

std::vector<TokenId> parse_ids(std::string_view text, std::size_t vocab_size, std::string_view what) {
  constexpr std::string_view kSeparators = ", \t\r\n";
  std::vector<TokenId> ids;
  for (;;) {
    const std::size_t begin = text.find_first_not_of(kSeparators);
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    text.remove_prefix(word.size());
    TokenId id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    const bool is_number = end == word.data() + word.size() && error != std::errc::invalid_argument;
    if (!is_number || error == std::errc::result_out_of_range || id < 0 || static_cast<std::size_t>(id) >= vocab_size) {
      throw Error(ErrorCode::invalid_argument, std::string(what) + ": \"" + std::string(word.substr(0, 40)) +
                                                   "\" is not a token id of this model; expected numbers from 0 to " +
                                                   std::to_string(vocab_size - 1));
    }
    ids.push_back(id);
  }
  if (ids.empty())
    throw Error(ErrorCode::invalid_argument, std::string(what) + ": there is no token id; give at least one");
  return ids;
}

double log_sum_exp(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) {
    if (logit > largest) largest = logit;
  }
  if (std::isinf(largest)) return largest;
  double sum = 0;
  for (const float logit : logits) {
    if (!std::isnan(logit)) sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  }
  return static_cast<double>(largest) + std::log(sum);
}

std::vector<std::pair<TokenId, float>> top_logits(std::span<const float> logits, std::size_t count) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), TokenId{0});
  const auto value = [&logits](TokenId id) {
    const float logit = logits[static_cast<std::size_t>(id)];
    return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
  };
  const auto before = [&value](TokenId a, TokenId b) { return value(a) != value(b) ? value(a) > value(b) : a < b; };
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(std::min(count, order.size()));
  std::partial_sort(order.begin(), middle, order.end(), before);
  std::vector<std::pair<TokenId, float>> top;
  for (auto it = order.begin(); it != middle; ++it) top.emplace_back(*it, logits[static_cast<std::size_t>(*it)]);
  return top;
}

Agreement compare_logits(std::span<const float> exact, std::span<const float> fast, std::size_t vocab_size) {
  Agreement result{.positions = exact.size() / vocab_size, .mean_cosine = 0};
  const auto positions = static_cast<double>(result.positions);
  for (std::size_t position = 0; position < result.positions; ++position) {
    const std::span<const float> a = exact.subspan(position * vocab_size, vocab_size);
    const std::span<const float> b = fast.subspan(position * vocab_size, vocab_size);
    const double log_sum_a = log_sum_exp(a);
    const double log_sum_b = log_sum_exp(b);
    double dot = 0;
    double square_a = 0;
    double square_b = 0;
    double kl = 0;
    for (std::size_t i = 0; i < vocab_size; ++i) {
      const double x = static_cast<double>(a[i]);
      const double y = static_cast<double>(b[i]);
      dot += x * y;
      square_a += x * x;
      square_b += y * y;
      const double log_p = x - log_sum_a;
      kl += std::exp(log_p) * (log_p - (y - log_sum_b));
    }
    const double norms = std::sqrt(square_a) * std::sqrt(square_b);
    // Two rows of zeros agree; one alone, or a logit that is no number, agrees with nothing.
    const double cosine = norms > 0 && std::isfinite(norms) ? dot / norms : (square_a == square_b ? 1 : 0);
    result.worst_cosine = std::min(result.worst_cosine, cosine);
    result.mean_cosine += cosine / positions;
    result.mean_kl += kl / positions;
  }
  return result;
}

}  // namespace qwen35::cli
