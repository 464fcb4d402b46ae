#include "hub/selection.h"

#include <qwen35/error.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "hub/names.h"

namespace qwen35::hub {
namespace {

constexpr std::string_view kWeights = ".safetensors";

/// "model-00002-of-00003.safetensors"
struct Shard {
  std::string_view stem;  ///< "model"
  unsigned index = 0;
  unsigned count = 0;
};

std::optional<unsigned> number(std::string_view digits) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<Shard> as_shard(std::string_view name) {
  constexpr std::size_t kTail = std::string_view("-00001-of-00001").size();
  if (!name.ends_with(kWeights)) return std::nullopt;
  name.remove_suffix(kWeights.size());
  if (name.size() <= kTail) return std::nullopt;
  const std::string_view tail = name.substr(name.size() - kTail);
  const auto index = number(tail.substr(1, 5));
  const auto count = number(tail.substr(10, 5));
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !index || !count || *index == 0 || *index > *count) {
    return std::nullopt;
  }
  return Shard{name.substr(0, name.size() - kTail), *index, *count};
}

std::string folder_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? "" : std::string(path.substr(0, slash));
}

/// The *.safetensors of one folder, their names alone.
std::vector<std::string> weights_in(const FileNames& files, const std::string& folder) {
  std::vector<std::string> names;
  for (const std::string& path : files) {
    if (!path.ends_with(kWeights) || folder_of(path) != folder) continue;
    names.push_back(path.substr(folder.empty() ? 0 : folder.size() + 1));
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ", ";
    text += name.empty() ? "one at its top" : in_quotes(name);
  }
  return text;
}

/// Adds the weights of a folder without model.safetensors.
void select_other_weights(const FileNames& files, const std::string& prefix, const std::vector<std::string>& names,
                          Selection& selection) {
  const bool indexed = files.contains(prefix + "model.safetensors.index.json");
  std::vector<Shard> shards;
  for (const std::string& name : names) {
    const std::optional<Shard> shard = as_shard(name);
    if (!shard || (!shards.empty() && (shard->stem != shards[0].stem || shard->count != shards[0].count))) continue;
    shards.push_back(*shard);
    selection.files.push_back(prefix + name);
  }
  if (!shards.empty()) {
    // Names in a set: none comes twice, so as many as there should be are all of them.
    if (shards.size() != shards[0].count) {
      selection.missing = std::to_string(shards[0].count - shards.size()) + " of " + std::to_string(shards[0].count) +
                          " " + kWeights.data() + " shards";
    } else if (!indexed && shards.size() > 1) {
      selection.missing = prefix + "model.safetensors.index.json";
    }
  } else if (indexed || names.size() == 1) {
    for (const std::string& name : names) selection.files.push_back(prefix + name);
  } else {
    selection.missing = prefix + "model.safetensors";
  }
  if (indexed) selection.files.push_back(prefix + "model.safetensors.index.json");
}

}  // namespace

std::vector<std::string> variants_of(const FileNames& files) {
  std::vector<std::string> folders;
  for (const std::string& path : files) {
    const std::string folder = folder_of(path);
    const bool config = path == (folder.empty() ? "" : folder + "/") + "config.json";
    if (config && folder.find('/') == std::string::npos && !weights_in(files, folder).empty()) {
      folders.push_back(folder);
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::string choose_variant(const std::string& id, const FileNames& files, const std::string& variant) {
  const std::vector<std::string> existing = variants_of(files);
  const auto exists = [&existing](std::string_view folder) {
    return std::find(existing.begin(), existing.end(), folder) != existing.end();
  };
  if (existing.empty()) {
    throw Error(ErrorCode::not_found,
                id + " holds no checkpoint: neither its top nor a folder there has config.json beside *.safetensors");
  }
  if (!variant.empty()) {
    if (exists(variant)) return variant;
    if (existing == std::vector<std::string>{""}) {
      throw Error(ErrorCode::not_found, id + " has no variants: its files are at the top. Leave :" + variant + " out");
    }
    throw Error(ErrorCode::not_found,
                id + " has no variant " + in_quotes(variant) + "; these exist: " + joined(existing));
  }
  if (id == kDefaultRepository && existing != std::vector<std::string>{""}) {
    if (exists(kDefaultVariant)) return std::string(kDefaultVariant);
    throw Error(ErrorCode::not_found, id + " has no variant " + in_quotes(kDefaultVariant) +
                                          " any more, which is the default; these exist: " + joined(existing) +
                                          ". Ask for one of them, " + id + ":VARIANT");
  }
  if (exists("")) return "";
  if (existing.size() == 1) return existing.front();
  throw Error(ErrorCode::not_found,
              id + " has several variants: " + joined(existing) + ". Say which, " + id + ":" + existing.front());
}

Selection select_files(const FileNames& files, const std::string& variant) {
  const std::string prefix = variant.empty() ? "" : variant + "/";
  Selection selection;
  const auto take = [&](const std::string& path) {
    if (!files.contains(path)) return false;
    selection.files.push_back(path);
    return true;
  };
  const std::vector<std::string> weights = weights_in(files, variant);
  if (!take(prefix + "model.safetensors")) {
    if (weights.empty()) {
      selection.missing = prefix + "model.safetensors";
    } else {
      select_other_weights(files, prefix, weights, selection);
    }
  }
  if (!take(prefix + "tokenizer.json") && (variant.empty() || !take("tokenizer.json"))) {
    selection.missing = prefix + "tokenizer.json";
  }
  if (!take(prefix + "config.json")) selection.missing = prefix + "config.json";
  for (const char* name : {"tokenizer_config.json", "generation_config.json", "chat_template.jinja"}) {
    (void)take(prefix + name);
  }
  return selection;
}

}  // namespace qwen35::hub
