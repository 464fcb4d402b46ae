// The language-model side of a voice agent, with text for sound: words arrive one by one as a recogniser would give
// them, sentences leave as soon as they are whole, and the third answer is cut off in the middle.
#include <qwen35/voice.h>

#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

namespace {

/// Lets the model compute ahead while the user speaks; the prompt grows word by word.
void listen(qwen35::VoiceChat& voice, const std::string& question) {
  std::istringstream words(question);
  std::string heard;
  for (std::string word; words >> word;) {
    heard += (heard.empty() ? "" : " ") + word;
    voice.partial(heard);
  }
  std::cout << "user:  " << question << '\n';
}

/// Speaks the answer; a user who is patient hears all of it, another one only `most` sentences and two words.
void answer(qwen35::VoiceChat& voice, const std::string& question, std::size_t most) {
  std::size_t spoken = 0;
  const qwen35::VoiceReply reply = voice.reply(question, [&](const qwen35::Sentence& sentence) {
    if (spoken == most) {
      const std::size_t two = sentence.words.size() < 2 ? 0 : sentence.words[1].text_end;
      std::cout << "model: " << sentence.text.substr(0, two) << " [cut off]\n";
      voice.spoken(spoken, two);
      return false;
    }
    std::cout << "model: " << sentence.text << '\n';
    voice.spoken(++spoken);
    return true;
  });
  const qwen35::Metrics& metrics = reply.reply.metrics;
  std::printf("       [%zu of %zu prompt tokens computed before; first token %.1f ms, first sentence %.1f ms]\n",
              metrics.reused_tokens, metrics.prompt_tokens, reply.metrics.first_token_ms,
              reply.metrics.first_sentence_ms);
}

}  // namespace

int main(int argc, char** argv) try {
  qwen35::VoiceOptions options;
  options.generate.temperature = 0;
  qwen35::VoiceChat voice(qwen35::Chat::from_pretrained(argc > 1 ? argv[1] : "mini"), options);
  constexpr std::size_t kAll = 100;
  listen(voice, "My name is Anna.");
  answer(voice, "My name is Anna.", kAll);
  listen(voice, "What is a rainbow?");
  answer(voice, "What is a rainbow?", 1);
  listen(voice, "What is my name?");
  answer(voice, "What is my name?", kAll);
  std::cout << "\nwhat the model remembers:\n";
  for (const qwen35::Message& message : voice.chat().messages()) {
    std::cout << "  " << message.role << ": " << message.content << '\n';
  }
} catch (const qwen35::Error& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
