#include "backend/cpu/arena.h"

#include <limits>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace qwen35::cpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

class ArenaMemory final : public BlockMemory {
 public:
  explicit ArenaMemory(std::size_t bytes) : arena_(Arena::padded(bytes)) {
    data_ = reinterpret_cast<std::byte*>(arena_.take(bytes));
  }

 private:
  Arena arena_;
};

}  // namespace

Arena::Arena(std::size_t bytes) {
  if (bytes == 0) return;
  if (bytes > std::numeric_limits<std::size_t>::max() - kHugePage) throw std::bad_alloc();
#if defined(__linux__)
  reserved_ = bytes + kHugePage;  // room to begin at a huge page
  void* region = ::mmap(nullptr, reserved_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::uint8_t*>(region);
  const auto address = reinterpret_cast<std::uintptr_t>(base_);
  next_ = base_ + ((address + kHugePage - 1) / kHugePage * kHugePage - address);
  // Whole huge pages only: the last, partial one would be resident to its end. A refusal leaves small pages.
  ::madvise(next_, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#else
  reserved_ = bytes;
  base_ = static_cast<std::uint8_t*>(::operator new (bytes, std::align_val_t{64}));
  next_ = base_;
#endif
  end_ = next_ + bytes;
}

Arena::~Arena() {
  if (base_ == nullptr) return;
#if defined(__linux__)
  ::munmap(base_, reserved_);
#else
  ::operator delete (base_, std::align_val_t{64});
#endif
}

std::uint8_t* Arena::take(std::size_t bytes) {
  const std::size_t size = padded(bytes);
  if (size < bytes || size > static_cast<std::size_t>(end_ - next_)) throw std::bad_alloc();
  std::uint8_t* taken = next_;
  next_ += size;
  return taken;
}

std::unique_ptr<BlockMemory> arena_memory(std::size_t bytes) { return std::make_unique<ArenaMemory>(bytes); }

}  // namespace qwen35::cpu
