#include "backend/cpu/kv_cache.h"

#include <algorithm>
#include <cstring>

namespace qwen35::cpu {
namespace {

constexpr std::size_t kSmallPages = KvCache::kSmallTokens / KvCache::kPageTokens;

/// The page that holds a position, the position's place in it and how many it holds.
struct Place {
  std::size_t page;
  std::size_t offset;
  std::size_t tokens;
};

Place place(std::size_t position) {
  if (position < KvCache::kSmallTokens)
    return {position / KvCache::kPageTokens, position % KvCache::kPageTokens, KvCache::kPageTokens};
  const std::size_t beyond = position - KvCache::kSmallTokens;
  return {kSmallPages + beyond / KvCache::kLargePageTokens, beyond % KvCache::kLargePageTokens,
          KvCache::kLargePageTokens};
}

}  // namespace

std::size_t KvCache::page_bytes(std::size_t page) const {
  return 2 * heads_ * (page < kSmallPages ? kPageTokens : kLargePageTokens) * dim_ * element_bytes();
}

void KvCache::make_writable(std::size_t position, std::size_t tokens, BlockPool& memory, ThreadPool& threads) {
  for (const std::size_t end = position + tokens; position < end;) {
    const Place where = place(position);
    const std::size_t count = std::min(where.tokens - where.offset, end - position);
    if (pages_.size() <= where.page) pages_.resize(where.page + 1);
    SharedBlock& page = pages_[where.page];
    if (!page) page = memory.make(page_bytes(where.page));
    if (!page.claim_rows(where.offset, count)) {
      SharedBlock own = memory.make(page_bytes(where.page));
      const std::size_t row_bytes = dim_ * element_bytes();
      threads.run(2 * heads_, 1, [&](std::size_t strip, std::size_t, std::size_t) {
        const std::size_t at = strip * where.tokens * row_bytes;
        std::memcpy(own.data() + at, page.data() + at, where.offset * row_bytes);
      });
      page = std::move(own);
      (void)page.claim_rows(where.offset, count);  // alone: never refused
    }
    position += count;
  }
}

void KvCache::cut_back(std::size_t from, std::size_t to) {
  while (to < from) {
    const Place where = place(to);
    const std::size_t count = std::min(where.tokens - where.offset, from - to);
    pages_[where.page].release_rows(where.offset, count);
    to += count;
  }
}

std::byte* KvCache::at(bool value, std::size_t head, std::size_t position) const {
  const Place where = place(position);
  const std::size_t row = ((value ? heads_ : 0) + head) * where.tokens + where.offset;
  return pages_[where.page].data() + row * dim_ * element_bytes();
}

void KvCache::write(std::byte* to, const float* row, const Kernels& kernels) const {
  if (f16_)
    kernels.to_f16(row, reinterpret_cast<std::uint16_t*>(to), dim_);
  else
    std::memcpy(to, row, dim_ * sizeof(float));
}

void KvCache::write_key(std::size_t head, std::size_t position, const float* row, const Kernels& kernels) {
  write(at(false, head, position), row, kernels);
}

void KvCache::write_value(std::size_t head, std::size_t position, const float* row, const Kernels& kernels) {
  write(at(true, head, position), row, kernels);
}

KvCache KvCache::prefix(std::size_t tokens) const {
  KvCache shared(heads_, dim_, f16_);
  if (tokens > 0)
    shared.pages_.assign(pages_.begin(), pages_.begin() + static_cast<std::ptrdiff_t>(place(tokens - 1).page) + 1);
  return shared;
}

void KvCache::become(const KvCache& prefix) {
  if (pages_.size() < prefix.pages_.size()) pages_.resize(prefix.pages_.size());
  for (std::size_t i = 0; i < pages_.size(); ++i) {
    if (i < prefix.pages_.size())
      pages_[i] = prefix.pages_[i];
    else if (pages_[i] && !pages_[i].alone())
      pages_[i] = {};
  }
}

void KvCache::store(std::size_t tokens, const std::function<void(std::span<const std::byte>)>& sink) const {
  const std::size_t row_bytes = dim_ * element_bytes();
  for (std::size_t strip = 0; strip < 2 * heads_; ++strip) {
    for (std::size_t position = 0; position < tokens;) {
      const Place where = place(position);
      const std::size_t count = std::min(where.tokens, tokens - position);
      sink({pages_[where.page].data() + strip * where.tokens * row_bytes, count * row_bytes});
      position += count;
    }
  }
}

void KvCache::load(std::size_t tokens, std::span<const std::byte>& bytes, BlockPool& memory) {
  const std::size_t row_bytes = dim_ * element_bytes();
  pages_.clear();
  for (std::size_t position = 0; position < tokens;) {
    const Place where = place(position);
    const std::size_t count = std::min(where.tokens, tokens - position);
    pages_.push_back(memory.make(page_bytes(where.page)));
    (void)pages_.back().claim_rows(0, count);
    for (std::size_t strip = 0; strip < 2 * heads_; ++strip) {
      std::memcpy(pages_.back().data() + strip * where.tokens * row_bytes,
                  bytes.data() + (strip * tokens + position) * row_bytes, count * row_bytes);
    }
    position += count;
  }
  bytes = bytes.subspan(2 * heads_ * tokens * row_bytes);
}

std::size_t KvCache::memory_bytes() const {
  std::size_t bytes = 0;
  for (const SharedBlock& page : pages_) bytes += page.fair_share();
  return bytes;
}

}  // namespace qwen35::cpu
