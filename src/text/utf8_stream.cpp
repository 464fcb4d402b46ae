#include "text/utf8_stream.h"

#include "text/utf8.h"

namespace qwen35 {

std::string Utf8Stream::push(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = decode_utf8(rest);
    if (step.kind == Utf8Step::Kind::cut) break;  // at most three bytes stay behind
    out.append(step.kind == Utf8Step::Kind::valid ? rest.substr(0, step.length) : replacement_character);
    rest.remove_prefix(step.length);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string Utf8Stream::finish() {
  // What is pending is the beginning of one well-formed sequence: one maximal subpart.
  std::string out(pending_.empty() ? std::string_view() : replacement_character);
  pending_.clear();
  return out;
}

}  // namespace qwen35
