#include "backend/cuda/state/device_heap.h"

#include "backend/cuda/device/device.h"

namespace qwen35::cuda {
namespace {

/// Freed memory that the driver's pool keeps for the next request.
constexpr std::uint64_t kKept = std::uint64_t{256} << 20;

}  // namespace

class DeviceHeap::Memory final : public BlockMemory {
 public:
  Memory(std::shared_ptr<DeviceHeap> heap, std::size_t bytes) : heap_(std::move(heap)) {
    void* data = nullptr;
    if (const cudaError_t refused = faults::before_allocation(); refused != cudaSuccess) {
      check(refused, "asking for memory for a conversation");
    } else if (heap_->pool_ == nullptr) {
      check(cudaMalloc(&data, bytes), "asking for memory for a conversation");
    } else {
      check(cudaMallocFromPoolAsync(&data, bytes, heap_->pool_, heap_->stream_),
            "asking for memory for a conversation");
      // Other streams use it from now on.
      if (const cudaError_t status = cudaStreamSynchronize(heap_->stream_); status != cudaSuccess) {
        (void)cudaFreeAsync(data, heap_->stream_);
        check(status, "asking for memory for a conversation");
      }
    }
    data_ = static_cast<std::byte*>(data);
  }
  ~Memory() override {
    if (heap_->life_ != device_life()) return;
    const cudaError_t status = heap_->pool_ == nullptr ? cudaFree(data_) : cudaFreeAsync(data_, heap_->stream_);
    if (status != cudaSuccess) (void)cudaGetLastError();  // the device is lost: so is its memory
  }

 private:
  std::shared_ptr<DeviceHeap> heap_;
};

DeviceHeap::DeviceHeap() : life_(device_life()) {
  int device = 0;
  int pools = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, device), "asking for memory pools");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  try {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
    if (pools == 0) return;
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    check(cudaMemPoolCreate(&pool_, &properties), "making a memory pool");
    std::uint64_t kept = kKept;
    check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &kept), "making a memory pool");
  } catch (...) {
    if (pool_ != nullptr) (void)cudaMemPoolDestroy(pool_);
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
    (void)cudaStreamDestroy(stream_);
    throw;
  }
}

DeviceHeap::~DeviceHeap() {
  if (life_ != device_life()) return;
  (void)cudaStreamSynchronize(stream_);
  if (pool_ != nullptr) (void)cudaMemPoolDestroy(pool_);
  (void)cudaEventDestroy(event_);
  (void)cudaStreamDestroy(stream_);
  (void)cudaGetLastError();
}

std::unique_ptr<BlockMemory> DeviceHeap::make(std::size_t bytes) {
  return std::make_unique<Memory>(shared_from_this(), bytes);
}

bool DeviceHeap::alive() const { return life_ == device_life(); }

void DeviceHeap::order_after(cudaStream_t stream) {
  check(cudaEventRecord(event_, stream), "ordering copies");
  check(cudaStreamWaitEvent(stream_, event_, 0), "ordering copies");
}

}  // namespace qwen35::cuda
