#pragma once

#include <string>
#include <string_view>

namespace qwen35 {

/// Turns a stream of bytes into well-formed UTF-8, holding back an unfinished character until the rest of it comes.
class Utf8Stream {
 public:
  /// Adds bytes and returns what is complete now. An ill-formed sequence becomes U+FFFD (one a maximal subpart, as
  /// Unicode recommends) as soon as it is known to be ill-formed.
  std::string push(std::string_view bytes);
  /// Ends the stream: an unfinished tail becomes U+FFFD.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace qwen35
