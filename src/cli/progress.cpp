#include "cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace qwen35::cli {

bool use_colour(int fd) {
  if (isatty(fd) == 0) return false;
  const char* no_colour = std::getenv("NO_COLOR");
  if (no_colour != nullptr && *no_colour != '\0') return false;
  const char* term = std::getenv("TERM");
  return term != nullptr && std::strcmp(term, "dumb") != 0;
}

Notice::Notice(const std::string& text) : shown_(isatty(STDERR_FILENO) != 0) {
  if (shown_) std::fprintf(stderr, "%s ...", text.c_str());
}

Notice::~Notice() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

Progress::Progress(std::string what, std::size_t total)
    : what_(std::move(what)),
      total_(total),
      terminal_(isatty(STDERR_FILENO) != 0),
      next_(Clock::now() + std::chrono::seconds(1)) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::update(std::size_t done) {
  if (!terminal_ || Clock::now() < next_) return;
  next_ = Clock::now() + std::chrono::milliseconds(100);
  shown_ = true;
  if (total_ == 0) {
    std::fprintf(stderr, "\r%s: %zu\033[K", what_.c_str(), done);
  } else {
    const double percent = 100.0 * static_cast<double>(std::min(done, total_)) / static_cast<double>(total_);
    std::fprintf(stderr, "\r%s: %zu of %zu (%.0f %%)\033[K", what_.c_str(), done, total_, percent);
  }
  std::fflush(stderr);
}

}  // namespace qwen35::cli
