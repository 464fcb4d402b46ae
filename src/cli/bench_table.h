#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/benchmark.h"

// What the reports of bench are written with.

namespace qwen35::cli {

/// `digits` after the point, so that JSON shows what was measured and not the noise of a division. null: no number.
inline nlohmann::ordered_json rounded(double value, int digits) {
  if (!std::isfinite(value)) return nullptr;
  const double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

/// Rows of a label and three right-aligned columns.
class Table {
 public:
  explicit Table(const char* unit) { add(unit, "median", "min", "max"); }

  void add(const std::string& label, const char* format, const Summary& values, double unit = 1) {
    const auto text = [&](double value) {
      char buffer[40];
      std::snprintf(buffer, sizeof buffer, format, value / unit);
      return std::string(buffer);
    };
    add(label, text(values.median), text(values.min), text(values.max));
  }

  void add(const std::string& label, const std::string& a, const std::string& b, const std::string& c) {
    char line[160];
    std::snprintf(line, sizeof line, "%-36s %10s %10s %10s\n", label.c_str(), a.c_str(), b.c_str(), c.c_str());
    text_ += line;
  }

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

inline std::string line(const char* label, const std::string& text) {
  std::string start = label;
  start.resize(std::max<std::size_t>(start.size() + 1, 18), ' ');
  return start + text + "\n";
}

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  char text[160];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

inline nlohmann::ordered_json milliseconds(const Summary& summary) {
  return {{"ms", rounded(summary.median, 3)}, {"min", rounded(summary.min, 3)}, {"max", rounded(summary.max, 3)}};
}

inline nlohmann::ordered_json state_to_json(const StateTimes& times) {
  nlohmann::ordered_json verify = nlohmann::ordered_json::array();
  for (const auto& [tokens, ms] : times.verify_ms) {
    verify.push_back({{"tokens", tokens}});
    verify.back().update(milliseconds(ms));
  }
  nlohmann::ordered_json batch = nlohmann::ordered_json::array();
  for (const auto& [states, ms] : times.batch_ms) {
    batch.push_back({{"conversations", states}});
    batch.back().update(milliseconds(ms));
  }
  return {{"depth", times.depth},
          {"decode", milliseconds(times.decode_ms)},
          {"snapshot", milliseconds(times.snapshot_ms)},
          {"decode_after_snapshot", milliseconds(times.after_snapshot_ms)},
          {"restore", milliseconds(times.restore_ms)},
          {"decode_after_restore", milliseconds(times.after_restore_ms)},
          {"verify", verify},
          {"batch", batch}};
}

inline std::string state_text(const StateTimes& times) {
  Table table("milliseconds");
  table.add("one token at depth " + std::to_string(times.depth), "%.2f", times.decode_ms);
  table.add("snapshot", "%.3f", times.snapshot_ms);
  table.add("  the token after it", "%.2f", times.after_snapshot_ms);
  table.add("restore", "%.3f", times.restore_ms);
  table.add("  the token after it", "%.2f", times.after_restore_ms);
  for (const auto& [tokens, ms] : times.verify_ms)
    table.add("verify " + std::to_string(tokens) + " tokens, keep half", "%.2f", ms);
  for (const auto& [states, ms] : times.batch_ms)
    table.add("a token for each of " + std::to_string(states) + " conversations", "%.2f", ms);
  return "\n" + table.text();
}

}  // namespace qwen35::cli
