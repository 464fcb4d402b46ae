// Listings of a hub and names that people type: whatever they hold, no path leaves its folder.
#include <qwen35/error.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <vector>

#include "hub/listing.h"
#include "hub/names.h"
#include "hub/selection.h"

namespace {

using namespace qwen35;
using namespace qwen35::hub;

void require(bool condition) {
  if (!condition) std::abort();
}

/// By the standard library's rules, not by those that are tested.
void require_inside(const std::string& path) {
  const std::filesystem::path place = (std::filesystem::path("/cache") / path).lexically_normal();
  require(place.string().starts_with("/cache/") && place.string().size() > 7);
  for (const char c : path) require(static_cast<unsigned char>(c) >= 0x20);
}

void read_listing(std::string_view text) {
  std::vector<RemoteFile> files;
  try {
    parse_tree(text, "of fuzz", files);
  } catch (const Error&) {
    return;
  }
  FileNames names;
  for (const RemoteFile& file : files) {
    require_inside(file.path);
    require(is_hex(file.hash, 40) || is_hex(file.hash, 64));
    names.insert(file.path);
  }
  for (const std::string& variant : variants_of(names)) {
    for (const std::string& file : select_files(names, variant).files) require(names.contains(file));
  }
}

void read_name(const std::string& text) {
  try {
    const auto name = parse_model_name(text);
    if (!name) return;
    check_repository_id(name->id);
    if (!name->variant.empty()) require_inside(name->variant);
    if (!name->revision.empty()) require_inside(name->revision);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_listing(text);
  read_name(std::string(text));
  (void)next_page(text);
  if (problem_with_path(text).empty()) require_inside(std::string(text));
  try {
    (void)parse_commit(text, "fuzz");
  } catch (const Error&) {
  }
  return 0;
}
