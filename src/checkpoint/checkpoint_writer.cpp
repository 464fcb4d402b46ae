#include "checkpoint/checkpoint_writer.h"

#include <qwen35/error.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <exception>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/half.h"
#include "checkpoint/affine.h"
#include "checkpoint/checkpoint_config.h"
#include "checkpoint/safetensors_writer.h"

namespace qwen35 {
namespace {

constexpr std::size_t block_values = 1U << 20U;  // 4 MB of float32 a thread

std::size_t product(const std::vector<std::size_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

/// One tensor of the source and the tensors of the file it goes to.
struct Job {
  TensorSpec spec;
  bool quantize = false;
  bool add_one = false;  ///< the norm is stored as applied but comes zero-centred
  DType dtype = DType::bf16;
  std::size_t weight = 0;  ///< indices in the writer's plan
  std::size_t scales = 0;
  std::size_t biases = 0;
};

/// Values [first, first + count) of a job.
struct Block {
  const Job* job = nullptr;
  std::size_t first = 0;
  std::size_t count = 0;
};

/// What each thread keeps between blocks.
struct Buffers {
  std::vector<float> values;
  std::vector<std::uint32_t> packed;
  std::vector<std::uint16_t> halves;
  std::vector<std::uint16_t> scales;
  std::vector<std::uint16_t> biases;
};

std::string module_of(const std::string& name) { return name.substr(0, name.size() - std::string(".weight").size()); }

class TensorWriter {
 public:
  TensorWriter(const std::filesystem::path& folder, const ModelConfig& config, const TensorSource& source,
               const WriteOptions& options)
      : options_(options), source_(source), jobs_(plan(config)), writer_(make_writer(folder)) {
    for (Job& job : jobs_) {
      const std::string name = hugging_face_name(job.spec.name);
      job.weight = writer_.index_of(name);
      if (job.quantize) {
        job.scales = writer_.index_of(module_of(name) + ".scales");
        job.biases = writer_.index_of(module_of(name) + ".biases");
      }
      const std::size_t size = product(job.spec.shape);
      const std::size_t row = job.spec.shape.back();
      const std::size_t step = std::max<std::size_t>(block_values / row, 1) * row;
      for (std::size_t first = 0; first < size; first += step) {
        blocks_.push_back({&job, first, std::min(step, size - first)});
      }
      total_ += size;
    }
  }

  bool run() {
    const unsigned cores = std::max(std::thread::hardware_concurrency(), 1U);
    const std::size_t wanted = options_.threads > 0 ? static_cast<std::size_t>(options_.threads) : cores;
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 1; i < std::min(wanted, blocks_.size()); ++i) threads.emplace_back([this] { work(); });
      work();
    }
    if (failure_) std::rethrow_exception(failure_);
    if (stopped_) return false;
    writer_.finish();
    return true;
  }

 private:
  std::vector<Job> plan(const ModelConfig& config) const {
    const bool mlx = options_.form == CheckpointForm::mlx;
    const auto group = static_cast<std::size_t>(options_.quantization.group_size);
    std::vector<Job> jobs;
    for (TensorSpec& spec : text_tensors(config)) {
      Job job;
      const bool matrix = spec.role == TensorRole::matrix;
      job.quantize = mlx && matrix && options_.quantization.bits != 0 && spec.shape.back() % group == 0;
      job.add_one = mlx && spec.role == TensorRole::zero_centred_norm && !source_.norms_as_applied();
      job.dtype = job.quantize ? DType::u32 : mlx && !matrix ? DType::f32 : DType::bf16;
      job.spec = std::move(spec);
      jobs.push_back(std::move(job));
    }
    return jobs;
  }

  SafetensorsWriter make_writer(const std::filesystem::path& folder) const {
    const bool mlx = options_.form == CheckpointForm::mlx;
    std::vector<PlannedTensor> tensors;
    for (const Job& job : jobs_) {
      const std::string name = hugging_face_name(job.spec.name);
      std::vector<std::size_t> shape = job.spec.shape;
      if (mlx && job.spec.role == TensorRole::conv) std::swap(shape[1], shape[2]);
      if (job.quantize) {
        const std::vector<std::size_t> groups{shape[0],
                                              shape[1] / static_cast<std::size_t>(options_.quantization.group_size)};
        shape[1] = shape[1] * static_cast<std::size_t>(options_.quantization.bits) / 32;
        tensors.push_back({module_of(name) + ".scales", DType::bf16, groups});
        tensors.push_back({module_of(name) + ".biases", DType::bf16, groups});
      }
      tensors.push_back({name, job.dtype, std::move(shape)});
    }
    return {folder / "model.safetensors", std::move(tensors), mlx ? "mlx" : "pt"};
  }

  /// Takes blocks until none is left, or something failed or stopped.
  void work() noexcept {
    try {
      Buffers buffers;
      while (!stopped_) {
        const std::size_t next = next_++;
        if (next >= blocks_.size()) return;
        const Block& block = blocks_[next];
        write_block(block, buffers);
        const std::lock_guard lock(mutex_);
        done_ += block.count;
        if (!stopped_ && options_.progress && !options_.progress(done_, total_)) stopped_ = true;
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      stopped_ = true;
    }
  }

  void write_block(const Block& block, Buffers& buffers) {
    const Job& job = *block.job;
    auto& values = buffers.values;
    values.resize(block.count);
    source_.read(job.spec, block.first, block.count, values.data());
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
      throw Error(ErrorCode::bad_file, "tensor " + hugging_face_name(job.spec.name) +
                                           " holds an infinite value or a NaN; the source checkpoint is damaged");
    }
    if (job.quantize) {
      write_quantized(block, buffers);
    } else if (job.dtype == DType::f32) {
      if (job.add_one) {
        for (float& value : values) value += 1.0F;
      }
      writer_.write(job.weight, block.first * sizeof(float), std::as_bytes(std::span(values)));
    } else {
      buffers.halves.resize(block.count);
      std::transform(values.begin(), values.end(), buffers.halves.begin(), float_to_bf16);
      writer_.write(job.weight, block.first * 2, std::as_bytes(std::span(buffers.halves)));
    }
  }

  void write_quantized(const Block& block, Buffers& buffers) {
    const Job& job = *block.job;
    const int bits = options_.quantization.bits;
    const auto group_size = static_cast<std::size_t>(options_.quantization.group_size);
    const std::size_t groups = block.count / group_size;
    const std::size_t words = group_size * static_cast<std::size_t>(bits) / 32;
    buffers.packed.resize(groups * words);
    buffers.scales.resize(groups);
    buffers.biases.resize(groups);
    for (std::size_t g = 0; g < groups; ++g) {
      const AffineGroup group =
          quantize_group(buffers.values.data() + g * group_size, group_size, bits, buffers.packed.data() + g * words);
      buffers.scales[g] = float_to_bf16(group.scale);
      buffers.biases[g] = float_to_bf16(group.bias);
      if (!std::isfinite(bf16_to_float(buffers.scales[g])) || !std::isfinite(bf16_to_float(buffers.biases[g]))) {
        throw Error(ErrorCode::bad_file, "tensor " + hugging_face_name(job.spec.name) +
                                             " holds values too large to quantise; keep it in bf16 (--bits bf16)");
      }
    }
    const std::size_t first_group = block.first / group_size;
    writer_.write(job.weight, first_group * words * sizeof(std::uint32_t), std::as_bytes(std::span(buffers.packed)));
    writer_.write(job.scales, first_group * 2, std::as_bytes(std::span(buffers.scales)));
    writer_.write(job.biases, first_group * 2, std::as_bytes(std::span(buffers.biases)));
  }

  const WriteOptions& options_;
  const TensorSource& source_;
  std::vector<Job> jobs_;
  SafetensorsWriter writer_;
  std::vector<Block> blocks_;
  std::size_t total_ = 0;

  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;  ///< guards what follows
  std::size_t done_ = 0;
  std::exception_ptr failure_;
};

}  // namespace

PendingFolder::PendingFolder(const std::filesystem::path& destination) : destination_(destination) {
  if (!destination_.has_filename()) destination_ = destination_.parent_path();  // "out/" means "out"
  if (destination_.empty()) throw Error(ErrorCode::invalid_argument, "no name for the new folder");
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(destination_, ignored))) {
    throw Error(ErrorCode::invalid_argument,
                destination_.string() + " exists already; name a new folder or remove it first");
  }
  std::string pattern = destination_.string() + ".partial-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) {
    throw Error(ErrorCode::invalid_argument, "cannot create a folder beside " + destination_.string() + ": " +
                                                 std::generic_category().message(errno));
  }
  partial_ = pattern;
}

PendingFolder::~PendingFolder() {
  std::error_code ignored;
  if (!committed_) std::filesystem::remove_all(partial_, ignored);
}

void PendingFolder::commit() {
  const mode_t mask = ::umask(0);  // mkdtemp made the folder private; give it what mkdir would have
  ::umask(mask);
  std::error_code error;
  ::chmod(partial_.c_str(), 0777 & ~mask);
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(destination_, ignored))) {
    std::filesystem::rename(partial_, destination_, error);
  } else {
    error = std::make_error_code(std::errc::file_exists);
  }
  if (error) {
    throw Error(ErrorCode::bad_file,
                "cannot rename " + partial_.string() + " to " + destination_.string() + ": " + error.message());
  }
  committed_ = true;
}

bool write_tensors(const std::filesystem::path& folder, const ModelConfig& config, const TensorSource& source,
                   const WriteOptions& options) {
  check_quantization(options.quantization);
  return TensorWriter(folder, config, source, options).run();
}

void write_config(const std::filesystem::path& folder, const std::string& json, Quantization quantization) {
  auto config = nlohmann::ordered_json::parse(json);
  bool changed = quantization.bits != 0;
  for (const char* key : {"quantization", "quantization_config", "quantization_bits", "quantization_group_size"}) {
    changed = config.erase(key) != 0 || changed;
  }
  if (quantization.bits != 0) {
    // mlx-lm reads the first name, transformers-minded tools the second.
    config["quantization"] = {{"group_size", quantization.group_size}, {"bits", quantization.bits}};
    config["quantization_config"] = config["quantization"];
  }
  const auto path = folder / "config.json";
  std::ofstream out(path, std::ios::binary);
  out << (changed ? config.dump(2) + "\n" : json);
  if (!out.flush()) throw Error(ErrorCode::bad_file, "cannot write " + path.string());
}

void copy_to(const std::filesystem::path& target, const std::filesystem::path& file) {
  std::error_code error;
  std::filesystem::copy_file(file, target, error);
  if (error) {
    throw Error(ErrorCode::bad_file,
                "cannot copy " + file.string() + " to " + target.string() + ": " + error.message());
  }
}

void check_quantization(Quantization q) {
  if (q.bits == 0) return;
  if (q.bits < 0 || q.group_size < 0 ||
      !is_affine_layout(static_cast<std::uint64_t>(q.bits), static_cast<std::uint64_t>(q.group_size))) {
    throw Error(ErrorCode::invalid_argument, "cannot quantise to " + std::to_string(q.bits) + " bits in groups of " +
                                                 std::to_string(q.group_size) +
                                                 "; choose 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128");
  }
}

}  // namespace qwen35
