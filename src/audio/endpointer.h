#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

namespace qwen35 {

struct EndpointerOptions {
  double start_db = 12;             ///< speech is this much louder than the background
  double quietest_db = -48;         ///< and louder than this, full scale being 0
  std::size_t start_frames = 5;     ///< loud frames of 10 ms, out of the last eight, that begin an utterance
  std::size_t silence_frames = 60;  ///< quiet ones that end it
  std::size_t padding_frames = 20;  ///< kept before and after it
};

/// Finds where somebody speaks: by loudness above a background, the quietest frame of the last three seconds. Positions
/// are samples from the first one pushed. Keeps no sound.
class Endpointer {
 public:
  enum class Event { start, end };
  struct Found {
    Event event = Event::start;
    std::size_t at = 0;       ///< where the utterance begins or ends, padding included
    std::size_t noticed = 0;  ///< how much had to be heard to know it
  };

  /// `rate`: samples a second.
  explicit Endpointer(int rate, EndpointerOptions options = {});

  /// Appends what the samples tell to `found`.
  void push(std::span<const std::int16_t> samples, std::vector<Found>& found);
  /// The sound ends here: so does an open utterance.
  void finish(std::vector<Found>& found);

  [[nodiscard]] bool speaking() const { return speaking_; }

 private:
  void frame(std::vector<Found>& found);
  double background(double level);

  EndpointerOptions options_;
  std::size_t frame_size_;
  double sum_ = 0;  ///< of squares in the frame
  std::size_t in_frame_ = 0;
  std::size_t frames_ = 0;                               ///< whole ones so far
  std::deque<std::pair<std::size_t, double>> quietest_;  ///< frames and levels that may be the window's minimum, rising
  unsigned loud_ = 0;                                    ///< the last frames, a bit each
  bool speaking_ = false;
  std::size_t quiet_ = 0;     ///< frames since the last loud one
  std::size_t last_end_ = 0;  ///< samples up to the end of the last utterance
};

}  // namespace qwen35
