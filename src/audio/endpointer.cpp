#include "audio/endpointer.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace qwen35 {
namespace {

constexpr double kQuiet = 1e-10;  // mean square of less than one step of 16 bits
constexpr std::size_t kBackgroundFrames = 300;
constexpr unsigned kWindow = 0xFF;  // the last eight frames

}  // namespace

Endpointer::Endpointer(int rate, EndpointerOptions options)
    : options_(options), frame_size_(static_cast<std::size_t>(std::max(rate / 100, 1))) {}

void Endpointer::push(std::span<const std::int16_t> samples, std::vector<Found>& found) {
  for (const std::int16_t sample : samples) {
    const double value = sample / 32768.0;
    sum_ += value * value;
    if (++in_frame_ == frame_size_) frame(found);
  }
}

/// The quietest of the last frames, this one included.
double Endpointer::background(double level) {
  while (!quietest_.empty() && quietest_.back().second >= level) quietest_.pop_back();
  quietest_.emplace_back(frames_, level);
  if (quietest_.front().first + kBackgroundFrames <= frames_) quietest_.pop_front();
  return quietest_.front().second;
}

void Endpointer::frame(std::vector<Found>& found) {
  const double level = 10 * std::log10(std::max(sum_ / static_cast<double>(frame_size_), kQuiet));
  sum_ = 0;
  in_frame_ = 0;
  ++frames_;
  const bool loud = level > std::max(background(level) + options_.start_db, options_.quietest_db);
  loud_ = ((loud_ << 1U) | (loud ? 1U : 0U)) & kWindow;
  quiet_ = loud ? 0 : quiet_ + 1;
  const std::size_t now = frames_ * frame_size_;
  if (!speaking_) {
    if (static_cast<std::size_t>(std::popcount(loud_)) < options_.start_frames) return;
    speaking_ = true;
    const std::size_t back = (static_cast<std::size_t>(std::bit_width(loud_)) + options_.padding_frames) * frame_size_;
    found.push_back({Event::start, std::max(now - std::min(back, now), last_end_), now});
  } else if (quiet_ >= options_.silence_frames) {
    speaking_ = false;
    loud_ = 0;
    const std::size_t padding = std::min(options_.padding_frames, quiet_);
    last_end_ = now - (quiet_ - padding) * frame_size_;
    found.push_back({Event::end, last_end_, now});
  }
}

void Endpointer::finish(std::vector<Found>& found) {
  if (!speaking_) return;
  speaking_ = false;
  const std::size_t now = frames_ * frame_size_ + in_frame_;
  found.push_back({Event::end, now, now});
}

}  // namespace qwen35
