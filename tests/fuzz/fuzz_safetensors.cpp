// The safetensors reader on arbitrary bytes: it must refuse them with an Error or hand out tensors inside the body.

#include <qwen35/error.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "checkpoint/safetensors.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void read(std::span<const std::byte> file) {
  try {
    const auto header = qwen35::parse_safetensors(file, "fuzz");
    std::size_t covered = 0;
    for (const auto& tensor : header.tensors) {
      std::size_t bytes = qwen35::dtype_size(tensor.dtype);
      for (const std::size_t extent : tensor.shape) bytes *= extent;
      require(tensor.begin == covered && tensor.end >= tensor.begin && tensor.end - tensor.begin == bytes);
      require(tensor.begin % qwen35::dtype_size(tensor.dtype) == 0);
      covered = tensor.end;
    }
    require(header.body <= file.size() && header.body + covered == file.size());
  } catch (const qwen35::Error&) {
    // refused, as it should be
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span input(reinterpret_cast<const std::byte*>(data), size);
  read(input);
  // Few inputs get the length right: take the input as a header alone as well.
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(size >> (8 * i) & 0xFF);
  file.append(reinterpret_cast<const char*>(data), size);
  file.append(64, '\0');
  read(std::as_bytes(std::span(file)));
  return 0;
}
