#pragma once

#include <stdexcept>
#include <string>

namespace qwen35 {

/// What kind of thing went wrong, for callers that react to it; the message is for people.
enum class ErrorCode {
  invalid_argument,  ///< an option or a message list that makes no sense
  not_found,         ///< a file, folder or model name that is not there
  bad_file,          ///< a file that is damaged, hostile or of another format
  unsupported,       ///< something valid that this engine does not do
  context_limit,     ///< the conversation no longer fits the model's or the caller's limit
  not_loaded,        ///< the model was unloaded; call reload()
  network,           ///< the hub is not reached or does not deliver
  cancelled,         ///< a download that the caller stopped
  internal,          ///< a defect of ours
  out_of_memory,     ///< a GPU's memory is full; what was computed before is whole
  device,            ///< a GPU failed or was taken away; reload() starts afresh
};

/// Every error this library throws. The message names the thing, what was found, what was expected and the remedy.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace qwen35
