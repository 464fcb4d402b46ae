#pragma once

#include <memory>
#include <string>

#include "audio/synthesizer.h"

namespace qwen35 {

struct EspeakOptions {
  std::string voice = "en-us";  ///< as `espeak-ng --voices` lists them
  int words_per_minute = 160;   ///< 80 to 450
};

/// eSpeak NG. It has one voice a process: all synthesizers made here must be used from one thread at a time. Throws
/// not_found for an unknown voice, invalid_argument for a rate out of range.
std::unique_ptr<Synthesizer> make_espeak_synthesizer(const EspeakOptions& options);

}  // namespace qwen35
