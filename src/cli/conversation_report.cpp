// How the result of `bench --conversation` is shown.
#include "cli/bench_table.h"
#include "cli/conversation_benchmark.h"

namespace qwen35::cli {
namespace {

using Json = nlohmann::ordered_json;
using Result = ConversationBenchmarkResult;

Json to_json(const char* name, const Summary& summary, int digits) {
  return {{name, rounded(summary.median, digits)},
          {"min", rounded(summary.min, digits)},
          {"max", rounded(summary.max, digits)}};
}

double ratio(const Result::Lookup& lookup) { return lookup.with.median / lookup.without.median; }

/// After the last history against after the first.
double first_token_ratio(const Result& result) {
  return result.turns.back().first_token_ms.median / result.turns.front().first_token_ms.median;
}

Json to_json(const Result::Lookup& lookup) {
  return {{"tokens", lookup.tokens},
          {"drafted", lookup.drafted},
          {"accepted", lookup.accepted},
          {"with", to_json("tokens_per_second", lookup.with, 2)},
          {"without", to_json("tokens_per_second", lookup.without, 2)},
          {"ratio", rounded(ratio(lookup), 3)}};
}

Json to_json(const Result::Cancels& cancels) {
  Json json = {{"count", cancels.count}, {"median_ms", nullptr}, {"max_ms", nullptr}};
  if (cancels.return_ms) {
    json["median_ms"] = rounded(cancels.return_ms->median, 2);
    json["max_ms"] = rounded(cancels.return_ms->max, 2);
  }
  return json;
}

void add(Table& table, const char* kind, const Result::Lookup& lookup) {
  const std::string reply = std::to_string(lookup.tokens) + " tokens, " + kind;
  table.add(reply + ", with lookup", "%.1f", lookup.with);
  table.add(reply + ", without", "%.1f", lookup.without);
}

std::string explain(const char* kind, const Result::Lookup& lookup) {
  return "  (" + std::string(kind) + ": " + formatted("%.2f times as fast with lookup; ", ratio(lookup)) +
         std::to_string(lookup.drafted) + " tokens guessed, " + std::to_string(lookup.accepted) + " of them right)\n";
}

void add(Table& table, const char* kind, const Result::Cancels& cancels) {
  const std::string label =
      "cancel in " + std::string(kind) + " to return, " + std::to_string(cancels.count) + " times";
  if (cancels.return_ms) {
    table.add(label, "%.1f", *cancels.return_ms);
  } else {
    table.add(label, "-", "-", "-");
  }
}

}  // namespace

std::string to_json_text(const Result& result, std::size_t repetitions) {
  Json turns = Json::array();
  for (const Result::Turn& turn : result.turns) {
    Json entry = {{"depth", turn.asked}, {"history_tokens", turn.history}, {"computed_tokens", turn.computed}};
    entry.update(to_json("ms", turn.first_token_ms, 2));
    turns.push_back(std::move(entry));
  }
  const Json json = {{"model", result.model},
                     {"backend", result.backend},
                     {"repetitions", repetitions},
                     {"first_token", std::move(turns)},
                     {"first_token_ratio", rounded(first_token_ratio(result), 3)},
                     {"state", state_to_json(result.state)},
                     {"lookup", {{"repeating", to_json(result.repeating)}, {"ordinary", to_json(result.ordinary)}}},
                     {"cancel", {{"prefill", to_json(result.prefill)}, {"decode", to_json(result.decode)}}}};
  return json.dump(2) + "\n";
}

std::string to_table(const Result& result, std::size_t repetitions) {
  std::string text = line("checkpoint", result.model);
  text += line("backend", result.backend + "; " + std::to_string(repetitions) +
                              (repetitions == 1 ? " repetition" : " repetitions"));
  Table times("milliseconds");
  for (const Result::Turn& turn : result.turns) {
    times.add("first token, " + std::to_string(turn.computed) + " tokens after " + std::to_string(turn.history), "%.1f",
              turn.first_token_ms);
  }
  add(times, "prefill", result.prefill);
  add(times, "decode", result.decode);
  text += "\n" + times.text();
  if (result.turns.size() > 1) {
    text += formatted("  (first token after the last history: %.2f times that after the first)\n",
                      first_token_ratio(result));
  }
  text += state_text(result.state);
  Table rates("tokens a second");
  add(rates, "repeating", result.repeating);
  add(rates, "ordinary", result.ordinary);
  text += "\n" + rates.text() + explain("repeating", result.repeating) + explain("ordinary", result.ordinary);
  return text;
}

}  // namespace qwen35::cli
