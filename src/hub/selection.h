#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace qwen35::hub {

/// Paths of the files of a repository, '/' between their parts.
using FileNames = std::set<std::string, std::less<>>;

/// The repository that from_pretrained() takes when none is said, and its variant when none is said.
inline constexpr std::string_view kDefaultRepository = "aufklarer/Qwen3.5-0.8B-Chat-MLX";
inline constexpr std::string_view kDefaultVariant = "int5";

/// The folders of the top that hold a checkpoint (config.json beside *.safetensors), and "" if the top itself does.
std::vector<std::string> variants_of(const FileNames& files);

/// Which of them is meant by `variant` ("": nothing was said). Throws not_found saying which exist.
std::string choose_variant(const std::string& id, const FileNames& files, const std::string& variant);

/// The files that running this variant takes: config.json, tokenizer.json (of the variant, else of the top),
/// tokenizer_config.json, generation_config.json and chat_template.jinja where they exist, and the weights:
/// model.safetensors alone, else the shards with their index, else the only *.safetensors.
struct Selection {
  std::vector<std::string> files;
  std::string missing;  ///< what a whole model would need too, for people; "": nothing
};
Selection select_files(const FileNames& files, const std::string& variant);

}  // namespace qwen35::hub
