#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace qwen35 {

/// A text spoken.
struct Speech {
  std::vector<std::int16_t> samples;  ///< mono

  struct Word {
    std::size_t text_end;    ///< bytes of the text up to the end of the word
    std::size_t sample_end;  ///< samples up to the end of its sound
  };
  std::vector<Word> words;  ///< in order

  /// Bytes of the text whose words have sounded whole when `played` samples were played.
  [[nodiscard]] std::size_t spoken_bytes(std::size_t played) const {
    std::size_t bytes = 0;
    for (const Word& word : words) {
      if (word.sample_end <= played) bytes = word.text_end;
    }
    return bytes;
  }
};

/// Turns text into speech. Not thread-safe. Errors are thrown as qwen35::Error.
class Synthesizer {
 public:
  /// Called with sound as soon as there is some; return false to stop.
  using OnAudio = std::function<bool(std::span<const std::int16_t> samples)>;

  virtual ~Synthesizer() = default;

  /// Samples a second of what it makes.
  [[nodiscard]] virtual int rate() const = 0;
  /// Speaks `text`, well-formed UTF-8. Returns all of it, or what there was when `on_audio` said stop.
  virtual Speech speak(const std::string& text, const OnAudio& on_audio) = 0;
};

}  // namespace qwen35
