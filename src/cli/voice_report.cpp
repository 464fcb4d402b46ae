#include "cli/voice_report.h"

#include <cstdio>

namespace qwen35::cli {

nlohmann::ordered_json turn_to_json(const VoiceTurn& turn) {
  const TurnTiming& timing = turn.timing;
  nlohmann::ordered_json json;
  json["question"] = turn.question;
  json["answer"] = turn.reply.reply.text;
  json["heard"] = turn.reply.heard;
  json["interrupted"] = turn.reply.interrupted;
  json["finish_reason"] = to_string(turn.reply.reply.finish_reason);
  json["answer_seconds"] = turn.answer.seconds();
  json["timing"] = {{"speech_seconds", timing.speech_seconds},     {"recognition_ms", timing.recognition_ms},
                    {"prefill_ahead_ms", timing.prefill_ahead_ms}, {"recognition_end_ms", timing.recognition_end_ms},
                    {"first_token_ms", timing.first_token_ms},     {"first_sentence_ms", timing.first_sentence_ms},
                    {"first_audio_ms", timing.first_audio_ms},     {"total_ms", timing.total_ms}};
  const Metrics& metrics = turn.reply.reply.metrics;
  json["prompt_tokens"] = metrics.prompt_tokens;
  json["reused_tokens"] = metrics.reused_tokens;
  return json;
}

std::string turn_to_text(const VoiceTurn& turn) {
  if (turn.question.empty()) return "you: (not understood)\n";
  const std::string& heard = turn.reply.heard;
  std::string text = "you: " + turn.question + "\nqwen35: " + heard;
  if (turn.reply.interrupted) text += " [cut off:" + turn.reply.reply.text.substr(heard.size()) + "]";
  return text + "\n";
}

std::string timing_to_text(const VoiceTurn& turn) {
  const TurnTiming& timing = turn.timing;
  char text[640];
  std::snprintf(text, sizeof text,
                "  speech            %9.2f s\n"
                "  recognition       %9.2f ms, %.2f ms of it after the last sound\n"
                "  computed ahead    %9.2f ms, while the user spoke\n"
                "  first token       %9.2f ms after recognition, %zu of %zu prompt tokens reused\n"
                "  first sentence    %9.2f ms\n"
                "  first audio       %9.2f ms\n"
                "  all of the answer %9.2f ms for %.2f s of sound\n",
                timing.speech_seconds, timing.recognition_ms, timing.recognition_end_ms, timing.prefill_ahead_ms,
                timing.first_token_ms, turn.reply.reply.metrics.reused_tokens, turn.reply.reply.metrics.prompt_tokens,
                timing.first_sentence_ms, timing.first_audio_ms, timing.total_ms, turn.answer.seconds());
  return text;
}

}  // namespace qwen35::cli
