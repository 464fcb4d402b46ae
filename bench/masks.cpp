// What constrained output costs a step: for several schemas, replies chosen by random logits, timed at every token; the
// first replies (masks not seen before) and later ones apart. Milliseconds of processor time.
//     cmake -S . -B build -DQWEN35_BUILD_BENCHMARKS=ON && cmake --build build --target qwen35_masks_bench
//     build/bench/masks path/to/tokenizer.json

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "constraint/constraint.h"
#include "constraint/machine.h"
#include "constraint/token_trie.h"
#include "text/tokenizer.h"

namespace {

using namespace qwen35;

/// This thread's processor time: what other programs take meanwhile is not the masks' cost.
struct Clock {
  static double now() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
  }
};

double milliseconds(double since) { return Clock::now() - since; }

struct Case {
  const char* name;
  const char* schema;  ///< nullptr: any object
};

constexpr Case kCases[] = {
    {"json object", nullptr},
    {"record",
     R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},
         "email":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string"}}},
         "required":["name","age","email","tags"]})"},
    {"lengths", R"({"type":"array","items":{"type":"string","minLength":20,"maxLength":400},"minItems":3})"},
    {"tree",
     R"({"type":"object","properties":{"title":{"type":"string","maxLength":60},
         "children":{"type":"array","items":{"$ref":"#"}}},"required":["title","children"]})"},
    {"enum", R"({"type":"array","items":{"enum":["red","green","blue","reddish","greenish"]},"minItems":10})"},
    {"pattern", R"({"type":"array","items":{"type":"string","pattern":"^[A-Z][a-z]+( [A-Z][a-z]+)*$"}})"},
};

struct Times {
  std::vector<double> all;
  void print(const char* what) {
    if (all.empty()) return;
    std::sort(all.begin(), all.end());
    double sum = 0;
    for (const double t : all) sum += t;
    std::printf("  %-22s %6zu steps  mean %7.3f  p99 %7.3f  max %7.3f\n", what, all.size(),
                sum / static_cast<double>(all.size()), all[all.size() * 99 / 100], all.back());
  }
};

void reply(const Constraint& start, std::size_t budget, bool budgeted, std::mt19937_64& random, std::size_t vocabulary,
           TokenId end, Times& masks, Times& tests, Times& accepts) {
  Constraint constraint = start;
  std::vector<float> logits(vocabulary);
  for (; budget > 0; --budget) {
    std::uint64_t x = random() | 1;
    for (float& logit : logits) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      logit = static_cast<float>(x >> 40);
    }
    logits[static_cast<std::size_t>(end)] = 0;
    auto since = Clock::now();
    constraint.mask(logits, budgeted ? budget : Constraint::no_budget);
    masks.all.push_back(milliseconds(since));
    const auto token = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (token == end) return;
    since = Clock::now();
    const bool allowed = constraint.allows(token);
    tests.all.push_back(milliseconds(since));
    since = Clock::now();
    if (!allowed || !constraint.accept(token)) std::abort();
    accepts.all.push_back(milliseconds(since));
    if (constraint.must_end()) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: masks TOKENIZER.JSON\n");
    return 2;
  }
  const Tokenizer tokenizer = Tokenizer::from_file(argv[1]);
  auto since = Clock::now();
  const auto trie = std::make_shared<const TokenTrie>(tokenizer);
  std::printf("vocabulary of %zu ids: tree of %zu nodes in %.0f ms, %.1f MB\n", tokenizer.size(), trie->node_count(),
              milliseconds(since), static_cast<double>(trie->memory_bytes()) / 1e6);
  const TokenId end = tokenizer.added_token("<|im_end|>").value_or(0);
  for (const Case& one : kCases) {
    since = Clock::now();
    const auto grammar = one.schema == nullptr ? Grammar::any_json_object() : Grammar::from_json_schema(one.schema);
    const double compiled = milliseconds(since);
    since = Clock::now();
    const Constraint start(grammar, trie, {end});
    std::printf("%s: compiled in %.1f ms, joined to the vocabulary in %.1f ms, %zu states\n", one.name, compiled,
                milliseconds(since), grammar->automaton().size());
    std::mt19937_64 random(1);
    Times first, first_budget, later, later_budget, tests, accepts;
    for (int i = 0; i < 4; ++i) reply(start, 80, false, random, tokenizer.size(), end, first, tests, accepts);
    for (int i = 0; i < 4; ++i) reply(start, 80, true, random, tokenizer.size(), end, first_budget, tests, accepts);
    for (int i = 0; i < 12; ++i) reply(start, 80, false, random, tokenizer.size(), end, later, tests, accepts);
    for (int i = 0; i < 12; ++i) reply(start, 80, true, random, tokenizer.size(), end, later_budget, tests, accepts);
    first.print("first replies");
    first_budget.print("first with a budget");
    later.print("later replies");
    later_budget.print("later with a budget");
    tests.print("allows(one token)");
    accepts.print("accept");
    const auto machine = grammar->machine(trie);
    std::printf("  %zu walks kept, %.1f MB\n", machine->walks(), static_cast<double>(machine->cached_bytes()) / 1e6);
  }
  return 0;
}
