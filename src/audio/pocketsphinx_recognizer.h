#pragma once

#include <filesystem>
#include <memory>

#include "audio/recognizer.h"

namespace qwen35 {

struct PocketSphinxOptions {
  /// JSGF: what can be said. Empty: free dictation with the model's own language model, which misreads much.
  std::filesystem::path grammar;
  /// Folder of the US English model (en-us, cmudict-en-us.dict, en-us.lm.bin); empty: where the distribution has it.
  std::filesystem::path model;
};

/// CMU PocketSphinx with its US English model, at 16,000 samples a second. Throws not_found or bad_file when the model
/// or the grammar is not there, is no grammar, or has a word that the dictionary lacks.
std::unique_ptr<Recognizer> make_pocketsphinx_recognizer(const PocketSphinxOptions& options);

}  // namespace qwen35
