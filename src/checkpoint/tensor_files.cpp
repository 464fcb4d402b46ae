#include "checkpoint/tensor_files.h"

#include <qwen35/error.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <utility>

#include "checkpoint/json_document.h"
#include "checkpoint/layout.h"

namespace qwen35 {
namespace {

using WeightMap = std::map<std::string, std::string, std::less<>>;  // tensor name to file name

constexpr std::size_t longest_index = 100'000'000;

/// A shard is a file beside the index: nothing that could lead out of the folder.
bool is_plain_file_name(std::string_view name) {
  return name.ends_with(".safetensors") && !name.starts_with(".") &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

WeightMap read_index(const std::filesystem::path& path) {
  const JsonDocument document(read_text_file(path, longest_index), path.string());
  simdjson::dom::object entries;
  if (document.root()["weight_map"].get(entries)) {
    throw Error(ErrorCode::bad_file, path.string() + ": no weight_map object");
  }
  WeightMap map;
  for (const auto& [name, value] : entries) {
    std::string_view file;
    if (value.get(file) || !is_plain_file_name(file)) {
      throw Error(ErrorCode::bad_file, path.string() + ": tensor " + quote(name) + " is mapped to " +
                                           quote(simdjson::minify(value)) +
                                           ", expected the name of a .safetensors file in the same folder");
    }
    if (!map.emplace(name, file).second) {
      throw Error(ErrorCode::bad_file, path.string() + ": tensor " + quote(name) + " appears twice");
    }
  }
  if (map.empty()) throw Error(ErrorCode::bad_file, path.string() + ": the weight_map is empty");
  return map;
}

std::filesystem::path only_safetensors(const std::filesystem::path& folder) {
  std::filesystem::path found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".safetensors") continue;
    if (!found.empty()) {
      throw Error(ErrorCode::bad_file, folder.string() +
                                           " holds several .safetensors files but no model.safetensors.index.json; "
                                           "download the index as well");
    }
    found = entry.path();
  }
  if (found.empty()) {
    throw Error(ErrorCode::not_found,
                folder.string() + " holds no model.safetensors; expected a Hugging Face or MLX checkpoint");
  }
  return found;
}

}  // namespace

std::string StoredTensor::label() const { return file->path().string() + ": tensor " + quote(name); }

FloatType StoredTensor::float_type() const {
  switch (dtype) {
    case DType::bf16:
      return FloatType::bf16;
    case DType::f16:
      return FloatType::f16;
    case DType::f32:
      return FloatType::f32;
    default:
      throw Error(ErrorCode::bad_file,
                  label() + " has dtype " + std::string(dtype_name(dtype)) + ", expected BF16, F16 or F32");
  }
}

void StoredTensor::release(std::size_t first, std::size_t count) const noexcept {
  const auto whole = file->bytes();
  // An aligned copy is not the file's: madvise would wipe it.
  const std::less<> before;
  if (before(bytes.data(), whole.data()) || !before(bytes.data(), whole.data() + whole.size())) return;
  file->release(bytes.subspan(first, count));
}

TensorFiles::TensorFiles(const std::filesystem::path& folder) : folder_(folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    throw Error(ErrorCode::not_found, folder.string() + " is not a folder; expected a checkpoint folder");
  }
  if (const auto single = folder / "model.safetensors"; std::filesystem::exists(single, ignored)) {
    open(single, nullptr);
    return;
  }
  const auto index = folder / "model.safetensors.index.json";
  if (!std::filesystem::exists(index, ignored)) {
    open(only_safetensors(folder), nullptr);
    return;
  }
  const WeightMap map = read_index(index);
  std::set<std::string> names;
  for (const auto& [tensor, file] : map) names.insert(file);
  for (const std::string& name : names) open(folder / name, &map);
  for (const auto& [tensor, file] : map) {
    if (!belongs_to_other_model(tensor) && find(plain_name(tensor)) == nullptr) {
      throw Error(ErrorCode::bad_file, (folder / file).string() + ": tensor " + quote(tensor) + " is missing, though " +
                                           index.filename().string() + " maps it there");
    }
  }
}

void TensorFiles::open(const std::filesystem::path& path, const WeightMap* weight_map) {
  files_.push_back(std::make_unique<MappedFile>(path));
  const MappedFile& file = *files_.back();
  const SafetensorsHeader header = parse_safetensors(file.bytes(), path.string());
  written_by_mlx_ = written_by_mlx_ || header.format == "mlx";
  for (const TensorEntry& entry : header.tensors) {
    if (weight_map != nullptr) {
      const auto mapped = weight_map->find(entry.name);
      if (mapped == weight_map->end() || mapped->second != path.filename().string()) {
        throw Error(ErrorCode::bad_file, path.string() + ": tensor " + quote(entry.name) +
                                             " is not mapped to this file by model.safetensors.index.json");
      }
    }
    if (belongs_to_other_model(entry.name)) continue;
    StoredTensor tensor{entry.name, &file, entry.dtype, entry.shape,
                        file.bytes().subspan(header.body + entry.begin, entry.end - entry.begin)};
    // MLX does not pad the header, so the whole body may stand at an odd address: such a tensor needs a copy.
    if (reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % dtype_size(entry.dtype) != 0) {
      const std::size_t size = tensor.bytes.size();
      aligned_copies_.push_back(std::make_unique_for_overwrite<std::byte[]>(size));
      std::memcpy(aligned_copies_.back().get(), tensor.bytes.data(), size);
      file.release(tensor.bytes);
      tensor.bytes = {aligned_copies_.back().get(), size};
    }
    const auto [place, fresh] = tensors_.emplace(plain_name(entry.name), tensor);
    if (!fresh) {
      throw Error(ErrorCode::bad_file, tensor.label() + " means the same weights as " + place->second.label());
    }
  }
}

const StoredTensor* TensorFiles::find(std::string_view plain) const {
  const auto found = tensors_.find(plain);
  return found == tensors_.end() ? nullptr : &found->second;
}

bool stores_norms_as_applied(const TensorFiles& files, const ModelConfig& config) {
  for (const auto& [plain, tensor] : files.tensors()) {
    if (plain.ends_with(".scales")) return true;
    if (!plain.ends_with(".conv1d.weight") || config.conv_kernel == 1) continue;
    if (tensor.shape == std::vector<std::size_t>{config.conv_channels(), config.conv_kernel, 1}) return true;
  }
  return files.written_by_mlx();
}

void TensorFiles::release_pages() const noexcept {
  for (const auto& file : files_) file->release(file->bytes());
}

void TensorFiles::release_pages(std::span<const std::byte> part) const noexcept {
  for (const auto& file : files_) {
    const std::span<const std::byte> bytes = file->bytes();
    // std::less orders pointers into different objects.
    const std::less_equal<const std::byte*> not_after;
    if (not_after(bytes.data(), part.data()) && not_after(part.data() + part.size(), bytes.data() + bytes.size())) {
      file->release(part);
      return;
    }
  }
}

}  // namespace qwen35
