#include "cli/model_download.h"

#include <qwen35/options.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <stop_token>

#include "chat/model_locator.h"
#include "cli/interrupt.h"
#include "cli/text_io.h"
#include "hub/names.h"

namespace qwen35::cli {
namespace {

using hub::DownloadProgress;
using hub::human_bytes;

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1U : 79U;
}

int percent(const DownloadProgress& progress) {
  if (progress.bytes == 0) return 100;
  const double share = static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes);
  return static_cast<int>(100 * std::min(share, 1.0));
}

std::string name_of(const DownloadProgress& progress) {
  return progress.repository + (progress.variant.empty() ? "" : ":" + progress.variant);
}

std::string how_far(const DownloadProgress& progress) {
  std::string text = human_bytes(progress.bytes_done) + " of " + human_bytes(progress.bytes) + " (" +
                     std::to_string(percent(progress)) + " %)";
  if (progress.bytes_per_second > 1) {
    text += ", " + human_bytes(static_cast<unsigned long long>(progress.bytes_per_second)) + "/s";
  }
  if (progress.seconds_left >= 0) text += ", " + clock_time(progress.seconds_left) + " left";
  return text;
}

}  // namespace

std::string clock_time(double seconds) {
  constexpr double kLongest = 359999;  // 99:59:59
  const auto total = static_cast<unsigned>(std::clamp(std::ceil(seconds), 0.0, kLongest));
  std::array<char, 32> text{};
  if (total >= 3600) {
    std::snprintf(text.data(), text.size(), "%u:%02u:%02u", total / 3600, total / 60 % 60, total % 60);
  } else {
    std::snprintf(text.data(), text.size(), "%u:%02u", total / 60, total % 60);
  }
  return text.data();
}

DownloadDisplay::DownloadDisplay() : terminal_(isatty(STDERR_FILENO) != 0) {}

DownloadDisplay::~DownloadDisplay() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void DownloadDisplay::show(const DownloadProgress& progress) {
  if (terminal_) {
    show_line(progress);
  } else {
    print_lines(progress);
  }
}

void DownloadDisplay::show_line(const DownloadProgress& progress) {
  std::string line;
  if (progress.phase == DownloadProgress::Phase::listing) {
    line = "asking the hub for " + progress.repository + " ...";
  } else {
    line = name_of(progress) + ": " + how_far(progress);
  }
  if (!progress.remark.empty()) line += "; " + progress.remark;
  line = terminal_safe(line);
  if (line.size() > terminal_width()) line.resize(terminal_width());  // a longer one could not be written over
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void DownloadDisplay::print_lines(const DownloadProgress& progress) {
  if (progress.remark != remark_ && !progress.remark.empty()) {
    std::fprintf(stderr, "waiting: %s\n", terminal_safe(progress.remark).c_str());
  }
  remark_ = progress.remark;
  if (progress.phase == DownloadProgress::Phase::listing) return;
  if (!begun_) {
    begun_ = true;
    tenths_ = percent(progress) / 10;
    // All there already: nothing to tell.
    if (progress.bytes_done == progress.bytes) return;
    std::fprintf(stderr, "downloading %s: %zu files, %s of %s to come\n", name_of(progress).c_str(), progress.files,
                 human_bytes(progress.bytes - progress.bytes_done).c_str(), human_bytes(progress.bytes).c_str());
  }
  if (percent(progress) / 10 > tenths_) {
    tenths_ = percent(progress) / 10;
    std::fprintf(stderr, "%s\n", how_far(progress).c_str());
  }
}

hub::CachedModel pull_model(const std::string& id, hub::DownloadOptions options, bool show) {
  const PollInterrupt poll;
  std::stop_source stop;
  DownloadDisplay display;
  options.cancel = stop.get_token();
  options.on_progress = [&](const DownloadProgress& progress) {
    if (interrupted()) stop.request_stop();
    if (show) display.show(progress);
  };
  return hub::download(id, options);
}

std::filesystem::path find_model(const std::string& model) {
  const PollInterrupt poll;
  std::stop_source stop;
  DownloadDisplay display;
  LoadOptions options;
  options.cancel_download = stop.get_token();
  options.on_download = [&](const DownloadProgress& progress) {
    if (interrupted()) stop.request_stop();
    display.show(progress);
  };
  return resolve_model(model, options);
}

}  // namespace qwen35::cli
