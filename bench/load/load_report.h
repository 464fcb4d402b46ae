#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <span>

#include "load_run.h"

namespace qwen35::load {

/// p50, p95, p99 and the largest of some times.
struct Spread {
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;
};
Spread spread_of(std::vector<double> values);

/// What a measurement comes to.
nlohmann::json summary(const LoadResult& result);

void print_head(std::ostream& out);
/// A line of the table for a summary, and below it what went wrong.
void print_row(std::ostream& out, const nlohmann::json& summary);
/// The four quarters of a long run: memory, speed and errors of each.
nlohmann::json quarters(const LoadResult& result);
void print_quarters(std::ostream& out, const nlohmann::json& quarters);

}  // namespace qwen35::load
