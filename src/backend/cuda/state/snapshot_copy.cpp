// Snapshots as bytes (snapshot_bytes.h): between the order of kernels (layout.h) and the plain one, on the host.

#include <algorithm>
#include <cstring>

#include "backend/cuda/device/device.h"
#include "backend/cuda/state/cuda_state.h"

namespace qwen35::cuda {
namespace {

/// The ring's row of the token `back` places before `tokens`; there need be none.
std::size_t ring_row(std::size_t tokens, std::size_t back) { return (tokens + kRingRows - back) % kRingRows; }

/// Between S of one layer as it lies on the device (heads × value × key) and in a file (heads × key × value).
void transpose_s(const ModelSizes& sizes, const float* from, float* to, bool to_file) {
  const std::size_t rows = to_file ? sizes.value_dim : sizes.key_dim;
  const std::size_t columns = to_file ? sizes.key_dim : sizes.value_dim;
  for (std::size_t head = 0; head < sizes.value_heads; ++head, from += rows * columns, to += rows * columns) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) to[column * rows + row] = from[row * columns + column];
    }
  }
}

/// Bytes of one full layer in a page: they lie together.
std::size_t layer_bytes(const ModelSizes& sizes) {
  return strip_offset(1, 0, false, sizes.kv_heads, sizes.head_dim) * sizeof(std::uint16_t);
}

std::uint32_t strip_index(bool value, std::uint32_t t, std::uint32_t d, std::uint32_t head_dim) {
  return value ? value_index(t, d, head_dim) : key_index(t, d, head_dim);
}

std::uint16_t* halves(std::vector<std::byte>& bytes) { return reinterpret_cast<std::uint16_t*>(bytes.data()); }

}  // namespace

void write_snapshot(const CudaSnapshot& snapshot, const ByteSink& sink) {
  const StateMemory& memory = *snapshot.memory;
  const ModelSizes& sizes = memory.sizes;
  const StateShape& shape = memory.shape;
  const cudaStream_t stream = memory.heap->copies();
  const std::size_t tokens = snapshot.at.tokens;
  write_position({tokens, 0}, sink);
  if (tokens == 0) return;

  const std::size_t ring_floats = kRingRows * sizes.ring_floats();
  std::vector<float> ring(sizes.linear_layers * ring_floats);
  std::vector<float> s(sizes.linear_layers * std::size_t{sizes.s_floats()});
  check(cudaMemcpyAsync(ring.data(), snapshot.at.ring.data(), ring.size() * sizeof(float), cudaMemcpyDeviceToHost,
                        stream),
        "reading a snapshot");
  check(cudaMemcpyAsync(s.data(), snapshot.at.s.data(), s.size() * sizeof(float), cudaMemcpyDeviceToHost, stream),
        "reading a snapshot");
  check(cudaStreamSynchronize(stream), "reading a snapshot");
  std::vector<float> transposed(sizes.s_floats());
  for (std::size_t layer = 0; layer < sizes.linear_layers; ++layer) {
    for (std::size_t back = shape.conv_rows; back > 0; --back) {
      const float* row = ring.data() + layer * ring_floats + ring_row(tokens, back) * sizes.ring_floats();
      sink(std::as_bytes(std::span(row, shape.conv_channels)));
    }
    transpose_s(sizes, s.data() + layer * sizes.s_floats(), transposed.data(), true);
    sink(std::as_bytes(std::span(transposed)));
  }

  const std::size_t each = layer_bytes(sizes);
  const std::size_t pages = snapshot.at.pages.size();
  std::vector<std::byte> stored(sizes.full_layers > 0 ? pages * each : 0);
  std::vector<std::uint16_t> rows;
  for (std::uint32_t layer = 0; layer < sizes.full_layers; ++layer) {
    for (std::size_t page = 0; page < pages; ++page) {
      check(cudaMemcpyAsync(stored.data() + page * each, snapshot.at.pages[page].data() + layer * each, each,
                            cudaMemcpyDeviceToHost, stream),
            "reading a snapshot");
    }
    check(cudaStreamSynchronize(stream), "reading a snapshot");
    for (const bool value : {false, true}) {
      for (std::uint32_t head = 0; head < sizes.kv_heads; ++head) {
        const std::size_t strip = strip_offset(0, head, value, sizes.kv_heads, sizes.head_dim);
        rows.resize(tokens * sizes.head_dim);
        for (std::size_t position = 0; position < tokens; ++position) {
          const std::uint16_t* from = halves(stored) + position / kPageTokens * (each / 2) + strip;
          for (std::uint32_t d = 0; d < sizes.head_dim; ++d) {
            rows[position * sizes.head_dim + d] =
                from[strip_index(value, static_cast<std::uint32_t>(position % kPageTokens), d, sizes.head_dim)];
          }
        }
        sink(std::as_bytes(std::span(rows)));
      }
    }
  }
}

std::unique_ptr<CudaSnapshot> read_snapshot(std::span<const std::byte> bytes,
                                            const std::shared_ptr<const StateMemory>& memory,
                                            std::size_t max_positions) {
  const ModelSizes& sizes = memory->sizes;
  const StateShape& shape = memory->shape;
  const cudaStream_t stream = memory->heap->copies();
  auto snapshot = std::make_unique<CudaSnapshot>(memory);
  const std::size_t tokens = read_position(bytes, shape, max_positions, 0).tokens;
  if (tokens == 0) return snapshot;
  snapshot->at.tokens = tokens;
  snapshot->at.s = memory->pool->make(memory->s_bytes());
  snapshot->at.ring = memory->pool->make(memory->ring_bytes());

  const std::size_t ring_floats = kRingRows * sizes.ring_floats();
  std::vector<float> ring(sizes.linear_layers * ring_floats, 0.0F);
  std::vector<float> s(sizes.linear_layers * std::size_t{sizes.s_floats()});
  std::vector<float> stored(sizes.s_floats());
  for (std::size_t layer = 0; layer < sizes.linear_layers; ++layer) {
    for (std::size_t back = shape.conv_rows; back > 0; --back) {
      float* row = ring.data() + layer * ring_floats + ring_row(tokens, back) * sizes.ring_floats();
      read_floats(bytes, {row, shape.conv_channels});
    }
    read_floats(bytes, stored);
    transpose_s(sizes, stored.data(), s.data() + layer * sizes.s_floats(), false);
  }
  // From memory that is not pinned: the calls return when the bytes are taken.
  check(cudaMemcpyAsync(snapshot->at.ring.data(), ring.data(), ring.size() * sizeof(float), cudaMemcpyHostToDevice,
                        stream),
        "bringing a snapshot back");
  check(cudaMemcpyAsync(snapshot->at.s.data(), s.data(), s.size() * sizeof(float), cudaMemcpyHostToDevice, stream),
        "bringing a snapshot back");
  check(cudaStreamSynchronize(stream), "bringing a snapshot back");

  // What is not written stays 0: products read whole pieces.
  const std::size_t strip_bytes = tokens * sizes.head_dim * sizeof(std::uint16_t);
  std::vector<std::byte> page(sizes.full_layers * layer_bytes(sizes));
  for (std::size_t first = 0; first < tokens; first += kPageTokens) {
    const std::size_t count = std::min<std::size_t>(kPageTokens, tokens - first);
    std::fill(page.begin(), page.end(), std::byte{0});
    std::size_t strip = 0;
    for (std::uint32_t layer = 0; layer < sizes.full_layers; ++layer) {
      for (const bool value : {false, true}) {
        for (std::uint32_t head = 0; head < sizes.kv_heads; ++head, ++strip) {
          std::uint16_t* to = halves(page) + strip_offset(layer, head, value, sizes.kv_heads, sizes.head_dim);
          const std::byte* from = bytes.data() + strip * strip_bytes + first * sizes.head_dim * sizeof(std::uint16_t);
          for (std::uint32_t t = 0; t < count; ++t) {
            for (std::uint32_t d = 0; d < sizes.head_dim; ++d, from += sizeof(std::uint16_t))
              std::memcpy(to + strip_index(value, t, d, sizes.head_dim), from, sizeof(std::uint16_t));
          }
        }
      }
    }
    snapshot->at.pages.push_back(memory->pool->make(memory->page_bytes()));
    (void)snapshot->at.pages.back().claim_rows(0, count);
    check(cudaMemcpyAsync(snapshot->at.pages.back().data(), page.data(), page.size(), cudaMemcpyHostToDevice, stream),
          "bringing a snapshot back");
    check(cudaStreamSynchronize(stream), "bringing a snapshot back");
  }
  return snapshot;
}

}  // namespace qwen35::cuda
