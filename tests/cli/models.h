#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace qwen35::test {

/// A folder of its own, removed in the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Writes a file there and returns its path.
  [[nodiscard]] std::string write(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

/// The reference model `tiny` (weights, no tokenizer) with its recorded logits; nullopt: not here.
std::optional<std::filesystem::path> tiny_model();

/// The bundled model; nullopt: not in this tree.
std::optional<std::filesystem::path> mini_model();

/// Makes a model that can be talked to: tiny's weights and a byte-level tokenizer of 256 bytes and the control tokens.
/// What it says is noise, but always the same noise. `endless`: with temperature 0 it never ends its turn. Returns its
/// folder inside `folder`.
std::filesystem::path make_talking_model(const std::filesystem::path& folder, const std::filesystem::path& tiny,
                                         bool endless = false);

}  // namespace qwen35::test
