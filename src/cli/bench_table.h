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

}  // namespace qwen35::cli
