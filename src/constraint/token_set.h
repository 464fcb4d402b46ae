#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/token.h"

namespace qwen35::constraint {

/// A bit for each id of the vocabulary.
class TokenBits {
 public:
  explicit TokenBits(std::size_t size) : words_((size + 63) / 64, 0) {}
  void set(TokenId id) { words_[index(id)] |= bit(id); }
  void reset(TokenId id) { words_[index(id)] &= ~bit(id); }
  [[nodiscard]] bool test(TokenId id) const { return (words_[index(id)] & bit(id)) != 0; }
  [[nodiscard]] std::size_t count() const {
    std::size_t n = 0;
    for (const std::uint64_t word : words_) n += static_cast<std::size_t>(std::popcount(word));
    return n;
  }
  void add(const TokenBits& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }
  [[nodiscard]] std::span<const std::uint64_t> words() const { return words_; }

 private:
  static std::size_t index(TokenId id) { return static_cast<std::size_t>(id) / 64; }
  static std::uint64_t bit(TokenId id) { return std::uint64_t{1} << (static_cast<std::size_t>(id) % 64); }
  std::vector<std::uint64_t> words_;
};

/// A set of tokens in the smallest of three forms: its members, what is missing from `all`, or bits.
class TokenSet {
 public:
  TokenSet(TokenBits bits, std::span<const TokenId> all) {
    const std::size_t count = bits.count();
    constexpr std::size_t few = 4096;
    form_ = count <= few ? Form::members : all.size() - count <= few ? Form::missing : Form::bits;
    if (form_ == Form::bits) {
      bits_ = std::move(bits);
      return;
    }
    ids_.reserve(form_ == Form::members ? count : all.size() - count);
    for (const TokenId id : all) {
      if (bits.test(id) == (form_ == Form::members)) ids_.push_back(id);
    }
  }

  /// `all` is the bits of the vocabulary given at construction.
  void add_to(TokenBits& out, const TokenBits& all) const {
    switch (form_) {
      case Form::members:
        for (const TokenId id : ids_) out.set(id);
        return;
      case Form::missing: {
        // What `out` holds already must not be lost.
        std::vector<TokenId> absent;
        for (const TokenId id : ids_) {
          if (!out.test(id)) absent.push_back(id);
        }
        out.add(all);
        for (const TokenId id : absent) out.reset(id);
        return;
      }
      case Form::bits:
        out.add(bits_);
        return;
    }
  }

  [[nodiscard]] std::size_t memory_bytes() const {
    return ids_.capacity() * sizeof(TokenId) + bits_.words().size() * sizeof(std::uint64_t);
  }

 private:
  enum class Form : std::uint8_t { members, missing, bits };
  Form form_;
  std::vector<TokenId> ids_;
  TokenBits bits_{0};
};

}  // namespace qwen35::constraint
