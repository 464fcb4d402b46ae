#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace qwen35::cpu {

/// An array aligned to a cache line, uninitialised.
template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(std::size_t n)
      : data_(static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64}))), size_(n) {}
  [[nodiscard]] T* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Makes room for at least n elements; the content is lost when it grows.
  void reserve(std::size_t n) {
    if (n > size_) *this = AlignedArray(n);
  }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace qwen35::cpu
