#include "load_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace qwen35::load {
namespace {

using Json = nlohmann::json;

double rounded(double value) { return std::round(value * 100) / 100; }

Json to_json(const Spread& spread) {
  return {{"p50", rounded(spread.p50)},
          {"p95", rounded(spread.p95)},
          {"p99", rounded(spread.p99)},
          {"max", rounded(spread.max)}};
}

/// Of the requests that `counts` says count, over `seconds`.
template <typename Counts>
Json figures(const std::vector<Outcome>& outcomes, double seconds, Counts&& counts) {
  std::vector<double> first;
  std::vector<double> total;
  std::vector<double> rates;
  std::size_t tokens = 0;
  std::size_t prompt = 0;
  std::size_t cached = 0;
  std::size_t whole = 0;
  int retries = 0;
  Json errors = Json::object();
  for (const Outcome& outcome : outcomes) {
    if (!counts(outcome)) continue;
    retries += outcome.retries;
    if (!outcome.error.empty()) {
      errors[outcome.error] = errors.value(outcome.error, 0) + 1;
      continue;
    }
    ++whole;
    tokens += outcome.tokens;
    prompt += outcome.prompt_tokens;
    cached += outcome.cached_tokens;
    total.push_back(outcome.total_ms);
    if (outcome.first_ms > 0) first.push_back(outcome.first_ms);
    if (outcome.tokens > 1 && outcome.stream_ms > 0) {
      rates.push_back(static_cast<double>(outcome.tokens - 1) * 1000 / outcome.stream_ms);
    }
  }
  const double over = std::max(seconds, 1e-9);
  return {{"requests", whole},
          {"requests_per_second", rounded(static_cast<double>(whole) / over)},
          {"tokens", tokens},
          {"tokens_per_second", rounded(static_cast<double>(tokens) / over)},
          {"tokens_per_second_of_a_stream", rounded(spread_of(rates).p50)},
          {"prompt_tokens", prompt},
          {"cached_tokens", cached},
          {"first_token_ms", to_json(spread_of(std::move(first)))},
          {"total_ms", to_json(spread_of(std::move(total)))},
          {"retries", retries},
          {"errors", std::move(errors)}};
}

std::string cell(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string errors_line(const Json& summary) {
  std::string line;
  for (const auto& [what, count] : summary["errors"].items()) {
    line += (line.empty() ? "" : ", ") + std::to_string(count.get<int>()) + " x " + what;
  }
  return line;
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  // The smallest value that at least this share of all does not exceed.
  const auto at = [&](double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
  };
  return {at(0.50), at(0.95), at(0.99), values.back()};
}

Json summary(const LoadResult& result) {
  Json json = figures(result.outcomes, result.wall_seconds, [](const Outcome&) { return true; });
  json["clients"] = result.plan.clients;
  json["rate"] = result.plan.rate;
  json["seconds"] = rounded(result.wall_seconds);
  json["not_sent"] = result.not_sent;
  std::size_t most = 0;
  for (const MemorySample& sample : result.memory) most = std::max(most, sample.bytes);
  if (most > 0) json["most_resident_bytes"] = most;
  return json;
}

void print_head(std::ostream& out) {
  out << "                                tokens/s        first token, ms                whole reply, ms\n"
         "  clients   requests      /s   all  stream      p50    p95    p99    max      p50    p95    p99    max\n";
}

void print_row(std::ostream& out, const Json& summary) {
  const auto number = [&](const char* format, const char* key) { return cell(format, summary[key].get<double>()); };
  const double rate = summary["rate"].get<double>();
  out << (rate > 0 ? cell("%7.2f/s", rate) : number("%9.0f", "clients")) << number("%11.0f", "requests")
      << number("%8.2f", "requests_per_second") << number("%6.0f", "tokens_per_second")
      << number("%8.1f", "tokens_per_second_of_a_stream");
  for (const char* key : {"first_token_ms", "total_ms"}) {
    out << "  ";
    for (const char* share : {"p50", "p95", "p99", "max"}) out << cell("%7.0f", summary[key][share].get<double>());
  }
  out << '\n';
  const std::string errors = errors_line(summary);
  if (!errors.empty()) out << "            errors: " << errors << '\n';
  if (const int retries = summary["retries"].get<int>(); retries > 0) {
    out << "            retries after 429 or 503, as the server asked: " << retries << '\n';
  }
  if (const auto count = summary["not_sent"].get<std::size_t>(); count > 0) {
    out << "            due while all clients were busy, not sent: " << count << '\n';
  }
  out << std::flush;
}

Json quarters(const LoadResult& result) {
  Json list = Json::array();
  const double length = result.plan.seconds / 4;
  for (int i = 0; i < 4; ++i) {
    const double begin = length * i;
    // What ends behind the last quarter belongs to it.
    const double end = i == 3 ? result.wall_seconds + 1 : begin + length;
    const auto within = [&](double seconds) { return seconds >= begin && seconds < end; };
    Json quarter = figures(result.outcomes, i == 3 ? result.wall_seconds - begin : length, [&](const Outcome& outcome) {
      return within(std::chrono::duration<double>(outcome.began - result.began).count());
    });
    std::size_t least = 0;
    std::size_t most = 0;
    for (const MemorySample& sample : result.memory) {
      if (!within(sample.seconds) || sample.bytes == 0) continue;
      least = least == 0 ? sample.bytes : std::min(least, sample.bytes);
      most = std::max(most, sample.bytes);
    }
    quarter["least_resident_bytes"] = least;
    quarter["most_resident_bytes"] = most;
    list.push_back(std::move(quarter));
  }
  return list;
}

void print_quarters(std::ostream& out, const Json& quarters) {
  constexpr double kMiB = 1024.0 * 1024.0;
  out << "  quarter   requests   tokens/s   first p50    p95, ms   resident, MiB   errors\n";
  for (std::size_t i = 0; i < quarters.size(); ++i) {
    const Json& quarter = quarters[i];
    const std::string errors = errors_line(quarter);
    out << cell("%9.0f", static_cast<double>(i + 1)) << cell("%11.0f", quarter["requests"].get<double>())
        << cell("%11.0f", quarter["tokens_per_second"].get<double>())
        << cell("%12.0f", quarter["first_token_ms"]["p50"].get<double>())
        << cell("%11.0f", quarter["first_token_ms"]["p95"].get<double>())
        << cell("%9.1f", quarter["least_resident_bytes"].get<double>() / kMiB) << " -"
        << cell("%6.1f", quarter["most_resident_bytes"].get<double>() / kMiB) << "   "
        << (errors.empty() ? "none" : errors) << '\n';
  }
  out << std::flush;
}

}  // namespace qwen35::load
