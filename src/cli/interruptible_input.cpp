#include "cli/interruptible_input.h"

#include <unistd.h>

#include <cerrno>

#include "cli/interrupt.h"

namespace qwen35::cli {

InterruptibleInput::int_type InterruptibleInput::underflow() {
  for (;;) {
    if (!wait_for_input(fd_)) return traits_type::eof();
    const ssize_t got = read(fd_, buffer_.data(), buffer_.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return traits_type::eof();
    setg(buffer_.data(), buffer_.data(), buffer_.data() + got);
    return traits_type::to_int_type(buffer_.front());
  }
}

}  // namespace qwen35::cli
