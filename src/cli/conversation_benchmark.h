#pragma once

#include <qwen35/options.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cli/benchmark.h"

namespace qwen35::cli {

struct ConversationBenchmarkOptions {
  std::string model;
  LoadOptions load;
  std::vector<std::size_t> histories = {40, 4000};  ///< tokens before the turn that is timed; not empty
  std::size_t generate = 128;                       ///< tokens of the replies of the lookup test, at least 2
  std::size_t repetitions = 5;                      ///< at least 1
  std::size_t cancels = 20;                         ///< of prefills, and as many of decodes; at least 1
};

struct ConversationBenchmarkResult {
  std::string model;    ///< the folder
  std::string backend;  ///< kind, instruction set, threads

  struct Turn {
    std::size_t asked = 0;     ///< tokens of history asked for
    std::size_t history = 0;   ///< tokens of history that there were, all reused
    std::size_t computed = 0;  ///< tokens of the turn, the template's included
    Summary first_token_ms;
  };
  std::vector<Turn> turns;

  StateTimes state;  ///< at the longest history

  struct Lookup {
    std::size_t tokens = 0;    ///< of the reply
    std::size_t drafted = 0;   ///< guesses made
    std::size_t accepted = 0;  ///< of these, right
    Summary with;              ///< tokens a second
    Summary without;
  };
  Lookup repeating;  ///< a reply that repeats a passage of its prompt
  Lookup ordinary;   ///< one that does not

  struct Cancels {
    std::size_t count = 0;             ///< that came while the work was going on
    std::optional<Summary> return_ms;  ///< from cancel() until the call returned
  };
  Cancels prefill;
  Cancels decode;
};

/// Measures what a conversation feels like, by the public Chat on random words and, for lookup decoding, a fixed text
/// whose tokens are forced, so that any checkpoint serves, a drawn one too. Everything that is compared is measured in
/// turn, after a round that is not counted. The folder needs a tokenizer. Throws context_limit naming what does not
/// fit, and what loading throws.
ConversationBenchmarkResult run_conversation_benchmark(const ConversationBenchmarkOptions& options);

/// One object; docs/cli.md says what is in it.
std::string to_json_text(const ConversationBenchmarkResult& result, std::size_t repetitions);
/// A table.
std::string to_table(const ConversationBenchmarkResult& result, std::size_t repetitions);

}  // namespace qwen35::cli
