#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace qwen35 {

/// Turns speech into text, one utterance after the other. Not thread-safe. Errors are thrown as qwen35::Error.
class Recognizer {
 public:
  virtual ~Recognizer() = default;

  /// Samples a second that push() takes.
  [[nodiscard]] virtual int rate() const = 0;
  /// Begins an utterance; one that was not finished is dropped.
  virtual void start() = 0;
  /// The next mono samples of the utterance.
  virtual void push(std::span<const std::int16_t> samples) = 0;
  /// What the utterance seems to say so far. May change its mind.
  virtual std::string partial() = 0;
  /// Ends the utterance and returns what it says; empty: not understood.
  virtual std::string finish() = 0;
};

}  // namespace qwen35
