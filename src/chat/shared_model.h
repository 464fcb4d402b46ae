#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "chat/checkpoints.h"
#include "chat/model.h"
#include "chat/reply_memory.h"

namespace qwen35 {

/// A model that several conversations use, loaded while at least one of them wants it, and the checkpoints and replies
/// of them all, which outlive unloading. Thread-safe.
class SharedModel {
 public:
  /// `session_memory`: bytes for states and checkpoints together.
  SharedModel(ModelLoader loader, std::size_t session_memory)
      : loader_(std::move(loader)), checkpoints_(session_memory) {}

  /// The model in use, or a freshly loaded one. Throws what the loader throws.
  std::shared_ptr<Model> acquire() {
    const std::lock_guard hold(mutex_);
    if (std::shared_ptr<Model> model = model_.lock()) return model;
    std::shared_ptr<Model> model = loader_();
    if (model->fingerprint != fingerprint_) {  // the files have changed
      checkpoints_.clear();
      replies_->clear();
    }
    fingerprint_ = model->fingerprint;
    model_ = model;
    return model;
  }
  [[nodiscard]] bool in_use() const {
    const std::lock_guard hold(mutex_);
    return !model_.expired();
  }
  [[nodiscard]] Checkpoints& checkpoints() { return checkpoints_; }
  [[nodiscard]] const std::shared_ptr<ReplyMemory>& replies() const { return replies_; }

 private:
  mutable std::mutex mutex_;
  ModelLoader loader_;
  std::weak_ptr<Model> model_;
  std::uint64_t fingerprint_ = 0;
  Checkpoints checkpoints_;
  const std::shared_ptr<ReplyMemory> replies_ = std::make_shared<ReplyMemory>();
};

}  // namespace qwen35
