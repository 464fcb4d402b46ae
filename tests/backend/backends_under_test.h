#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/backend_options_print.h"

namespace qwen35 {

/// The backends that every test of what Backend promises runs on. A GPU's is always among them: where there is none its
/// tests say that they are skipped, and why.
inline std::vector<BackendOptions> backends_under_test() {
  return {{.kind = "reference"}, {.kind = "cpu", .threads = 2}, {.kind = "cuda"}};
}
/// With the CPU's two ways to compute.
inline std::vector<BackendOptions> backends_and_arithmetics_under_test() {
  auto all = backends_under_test();
  all.push_back({.kind = "cpu", .threads = 1, .float32 = true});
  return all;
}

/// Why tests of a backend cannot run here, or empty.
inline std::string why_untested(const BackendOptions& options) {
  return options.kind == "cuda" ? why_no_gpu() : std::string();
}

/// nullptr where it cannot run: SetUp() then skips the test.
inline std::unique_ptr<Backend> backend_under_test(const std::filesystem::path& model, const BackendOptions& options) {
  return why_untested(options).empty() ? make_backend(load_weights(model), options) : nullptr;
}

/// A test of one of them, with its backend over the tiny model.
class BackendTest : public testing::TestWithParam<BackendOptions> {
 protected:
  void SetUp() override {
    if (const std::string why = why_untested(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }
};

}  // namespace qwen35
