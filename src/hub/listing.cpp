#include "hub/listing.h"

#include <qwen35/error.h>
#include <simdjson.h>

#include <algorithm>

#include "hub/names.h"

namespace qwen35::hub {
namespace {

constexpr std::size_t kMaxFiles = 100000;
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 40;
constexpr std::size_t kMaxDepth = 64;

[[noreturn]] void refuse(std::string_view source, const std::string& what) {
  throw Error(ErrorCode::bad_file, "the hub's listing " + std::string(source) + " " + what +
                                       "; is that address a Hugging Face hub (HF_ENDPOINT), or is something between?");
}

class Document {
 public:
  Document(std::string_view json, std::string_view source) : parser_(std::size_t{1} << 26) {
    if (parser_.allocate(std::max<std::size_t>(json.size(), 64), kMaxDepth) != simdjson::SUCCESS ||
        parser_.parse(json.data(), json.size()).get(root_) != simdjson::SUCCESS) {
      refuse(source, "is not JSON: it begins with " + in_quotes(json.substr(0, 60)));
    }
  }
  [[nodiscard]] simdjson::dom::element root() const { return root_; }

 private:
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

RemoteFile parse_file(simdjson::dom::object entry, std::string_view source) {
  RemoteFile file;
  std::string_view path;
  if (entry["path"].get(path) != simdjson::SUCCESS) refuse(source, "has a file without a path");
  if (const std::string problem = problem_with_path(path); !problem.empty()) {
    refuse(source, "names a file " + in_quotes(path) + ", which is refused: " + problem);
  }
  file.path = path;
  simdjson::dom::object lfs;
  const bool large = entry["lfs"].get(lfs) == simdjson::SUCCESS;
  const simdjson::dom::object& where = large ? lfs : entry;
  std::string_view hash;
  if (where["oid"].get(hash) != simdjson::SUCCESS || !is_hex(hash, large ? 64 : 40)) {
    refuse(source, "gives " + in_quotes(path) + " the hash " + in_quotes(hash) + "; expected " + (large ? "64" : "40") +
                       " hexadecimal digits");
  }
  file.hash = hash;
  if (where["size"].get(file.size) != simdjson::SUCCESS || file.size > kMaxSize) {
    refuse(source, "gives " + in_quotes(path) + " no size from 0 to 1 TiB");
  }
  return file;
}

}  // namespace

std::string parse_commit(std::string_view json, std::string_view source) {
  const Document document(json, source);
  std::string_view commit;
  if (document.root()["sha"].get(commit) != simdjson::SUCCESS || !is_commit(commit)) {
    refuse(source, "names no commit: \"sha\" must be 40 hexadecimal digits");
  }
  return std::string(commit);
}

void parse_tree(std::string_view json, std::string_view source, std::vector<RemoteFile>& files) {
  const Document document(json, source);
  simdjson::dom::array entries;
  if (document.root().get(entries) != simdjson::SUCCESS) refuse(source, "is not an array of files");
  for (const simdjson::dom::element element : entries) {
    simdjson::dom::object entry;
    std::string_view type;
    if (element.get(entry) != simdjson::SUCCESS || entry["type"].get(type) != simdjson::SUCCESS) {
      refuse(source, "has an entry that is no object with a type");
    }
    if (type != "file") continue;
    if (files.size() == kMaxFiles) refuse(source, "has more than " + std::to_string(kMaxFiles) + " files");
    files.push_back(parse_file(entry, source));
  }
}

std::string next_page(std::string_view link) {
  while (!link.empty()) {
    const std::size_t begin = link.find('<');
    const std::size_t end = link.find('>', begin == std::string_view::npos ? 0 : begin);
    if (begin == std::string_view::npos || end == std::string_view::npos) return {};
    const std::string_view address = link.substr(begin + 1, end - begin - 1);
    link.remove_prefix(end + 1);
    const std::string_view parameters = link.substr(0, link.find('<'));
    if (parameters.find("rel=\"next\"") != std::string_view::npos ||
        parameters.find("rel=next") != std::string_view::npos) {
      return std::string(address);
    }
  }
  return {};
}

}  // namespace qwen35::hub
