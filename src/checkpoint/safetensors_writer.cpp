#include "checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <qwen35/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <numeric>
#include <system_error>
#include <utility>

namespace qwen35 {
namespace {

std::size_t byte_size(const PlannedTensor& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), dtype_size(tensor.dtype), std::multiplies<>());
}

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& action) {
  throw Error(ErrorCode::bad_file,
              "cannot " + action + " " + path.string() + ": " + std::generic_category().message(errno));
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<PlannedTensor> plan,
                                     const std::string& format)
    : path_(path), plan_(std::move(plan)) {
  std::sort(plan_.begin(), plan_.end(), [](const PlannedTensor& a, const PlannedTensor& b) {
    const std::size_t size_a = dtype_size(a.dtype);
    const std::size_t size_b = dtype_size(b.dtype);
    return size_a != size_b ? size_a > size_b : a.name < b.name;
  });
  nlohmann::ordered_json header;
  header["__metadata__"]["format"] = format;
  std::size_t offset = 0;
  for (const PlannedTensor& tensor : plan_) {
    starts_.push_back(offset);
    offset += byte_size(tensor);
    header[tensor.name] = {
        {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {starts_.back(), offset}}};
  }
  starts_.push_back(offset);
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the body starts aligned

  std::string start(8, '\0');
  for (std::size_t i = 0; i < start.size(); ++i) start[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  start += text;
  for (std::size_t& position : starts_) position += start.size();

  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(path_, "create");
  write_at(0, std::as_bytes(std::span(start)));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::size_t SafetensorsWriter::index_of(std::string_view name) const {
  const auto found = std::find_if(plan_.begin(), plan_.end(), [&](const PlannedTensor& t) { return t.name == name; });
  if (found == plan_.end()) throw Error(ErrorCode::internal, path_.string() + ": no tensor " + std::string(name));
  return static_cast<std::size_t>(found - plan_.begin());
}

void SafetensorsWriter::write(std::size_t index, std::size_t offset, std::span<const std::byte> bytes) {
  if (offset + bytes.size() > starts_.at(index + 1) - starts_[index]) {
    throw Error(ErrorCode::internal, path_.string() + ": more bytes than planned for tensor " + plan_[index].name);
  }
  write_at(starts_[index] + offset, bytes);
  written_ += bytes.size();
}

void SafetensorsWriter::finish() {
  const std::size_t planned = starts_.back() - starts_.front();
  if (written_ != planned) {
    throw Error(ErrorCode::internal, path_.string() + ": " + std::to_string(written_) + " bytes written of " +
                                         std::to_string(planned) + " planned");
  }
  if (::close(std::exchange(descriptor_, -1)) != 0) fail(path_, "close");
}

void SafetensorsWriter::write_at(std::size_t position, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path_, "write");
    position += static_cast<std::size_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace qwen35
