#include "audio/live_voice.h"

#include <algorithm>
#include <array>
#include <exception>
#include <future>
#include <vector>

#include "audio/endpointer.h"
#include "audio/sentence_player.h"

namespace qwen35 {
namespace {

constexpr std::size_t kBlocksASecond = 10;
constexpr std::size_t kBlocksAPartial = 3;
constexpr std::size_t kBlocksBefore = 5;  // sound kept from before an utterance was noticed

}  // namespace

void LiveVoice::run(const std::function<bool()>& over) {
  SentencePlayer player(*chat_, *synthesizer_, *loudspeaker_);
  Endpointer endpointer(recognizer_->rate());
  std::vector<std::int16_t> block(static_cast<std::size_t>(recognizer_->rate()) / kBlocksASecond);
  std::vector<std::int16_t> before;  // the latest sound
  std::vector<Endpointer::Found> found;
  std::future<void> answer;
  const auto answering = [&answer] {
    return answer.valid() && answer.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  };
  std::string known;
  std::size_t blocks = 0;
  struct Hush {  // an exception here must not leave a reply running that uses what goes away
    VoiceChat* chat;
    SentencePlayer* player;
    std::future<void>* answer;
    ~Hush() {
      player->stop();
      if (answer->valid()) {
        chat->interrupt();
        answer->wait();
      }
    }
  } const hush{chat_, &player, &answer};

  while (!over()) {
    microphone_->read(block);
    before.insert(before.end(), block.begin(), block.end());
    const std::size_t most = kBlocksBefore * block.size();
    if (before.size() > most) before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(most));
    const bool was_speaking = endpointer.speaking();
    found.clear();
    endpointer.push(block, found);
    bool ended = false;
    for (const Endpointer::Found& event : found) {
      if (event.event == Endpointer::Event::end) {
        ended = true;
        continue;
      }
      if (answering() || player.busy()) {  // barge-in
        player.stop();
        chat_->interrupt();
      }
      recognizer_->start();
      recognizer_->push(before);
      known.clear();
      blocks = 0;
    }
    if (was_speaking) recognizer_->push(block);
    if (endpointer.speaking() && ++blocks % kBlocksAPartial == 0 && !answering()) {
      std::string partial = recognizer_->partial();
      if (!partial.empty() && partial != known) {
        known = std::move(partial);
        chat_->partial(known);
      }
    }
    if (!ended) continue;
    const std::string question = recognizer_->finish();
    on_question(question);
    if (question.empty()) continue;
    if (answer.valid()) answer.get();  // the one before, cut off or whole; passes its error on
    player.begin();
    answer = std::async(std::launch::async, [this, &player, question] {
      const VoiceReply reply = chat_->reply(question, [&player](const Sentence& sentence) {
        player.add(sentence);
        return true;
      });
      on_reply(reply);
    });
  }
}

}  // namespace qwen35
