#include <qwen35/error.h>
#include <qwen35/voice.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "audio/alsa_sound.h"
#include "audio/espeak_synthesizer.h"
#include "audio/live_voice.h"
#include "audio/pocketsphinx_recognizer.h"
#include "audio/voice_chain.h"
#include "cli/chat_json.h"
#include "cli/chat_options.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text_io.h"
#include "cli/voice_report.h"

namespace qwen35::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kPause = 0.3;  // seconds between two answers in one file

struct Options {
  ChatOptions chat;
  std::vector<std::string> in;
  std::string out;
  std::string grammar = "mini";
  EspeakOptions voice;
  std::size_t memory_budget = 0;  // MB
  bool mic = false;
  std::string device = "default";
  bool no_prefill = false;
  bool text = false;
  bool timing = false;
  bool json = false;
};

/// The grammar file of an option's value: "none", a file, or the name of a bundled one.
fs::path find_grammar(const std::string& name) {
  if (name == "none") return {};
  std::error_code error;
  if (fs::exists(name, error)) return name;
  std::vector<fs::path> folders;
  if (const fs::path self = fs::read_symlink("/proc/self/exe", error); !error) {
    folders.push_back((self.parent_path() / ".." / "share" / "qwen35" / "voice").lexically_normal());
  }
  folders.emplace_back(QWEN35_SOURCE_VOICE);
  folders.emplace_back(QWEN35_INSTALL_VOICE);
  for (const fs::path& folder : folders) {
    const fs::path file = folder / (name + ".gram");
    if (name.find('/') == std::string::npos && fs::exists(file, error)) return file;
  }
  throw Error(ErrorCode::not_found,
              "there is no grammar \"" + name +
                  "\"; give a file in JSGF, \"mini\" for the bundled model's, or \"none\" for free "
                  "dictation");
}

void append(Audio& all, const Audio& answer) {
  if (answer.samples.empty()) return;
  if (!all.samples.empty()) all.samples.resize(all.samples.size() + static_cast<std::size_t>(kPause * answer.rate));
  all.rate = answer.rate;
  all.samples.insert(all.samples.end(), answer.samples.begin(), answer.samples.end());
}

/// What both ways of running need.
struct Parts {
  std::unique_ptr<Recognizer> recognizer;
  std::unique_ptr<Synthesizer> synthesizer;
};

Parts load_parts(const Options& options) {
  const Notice notice("loading the recogniser");
  return {make_pocketsphinx_recognizer({.grammar = find_grammar(options.grammar), .model = {}}),
          make_espeak_synthesizer(options.voice)};
}

VoiceChat load_voice(const Options& options) {
  ChatOptions chat = options.chat;
  chat.read_files({});
  VoiceOptions voice;
  voice.generate = chat.generate;
  voice.memory_budget = options.memory_budget << 20;
  return VoiceChat(load_chat(chat), voice);
}

int run_files(const Options& options) {
  const Parts parts = load_parts(options);
  std::vector<Audio> recordings;
  for (const std::string& file : options.in) recordings.push_back(read_audio(file, parts.recognizer->rate()));
  VoiceChat chat = load_voice(options);
  const CancelOnInterrupt cancel(chat.chat());

  VoiceChain chain(chat, *parts.recognizer, *parts.synthesizer,
                   {.endpointer = {}, .prefill_ahead = !options.no_prefill});
  Audio answers;
  nlohmann::ordered_json turns = nlohmann::ordered_json::array();
  bool understood = false;
  for (const Audio& recording : recordings) {
    chain.run(recording, [&](const VoiceTurn& turn) {
      if (interrupted()) return false;
      understood = understood || !turn.question.empty();
      append(answers, turn.answer);
      if (options.json) turns.push_back(turn_to_json(turn));
      if (options.text) write_output(terminal_safe(turn_to_text(turn)));
      if (options.timing) write_output(timing_to_text(turn));
      return true;
    });
    if (interrupted()) return kInterruptedExitCode;
  }
  if (options.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::parse(messages_to_text(chat.chat().messages()));
    json["turns"] = turns;
    write_output(to_line(json) + "\n");
  }
  if (!understood) {
    throw Error(ErrorCode::unsupported, "nothing was understood in " + options.in.front() +
                                            "; expected English speech that the grammar \"" + options.grammar +
                                            "\" covers");
  }
  if (!options.out.empty()) write_wav(options.out, answers);
  return 0;
}

int run_microphone(const Options& options) {
  const Parts parts = load_parts(options);
  Microphone microphone(options.device, parts.recognizer->rate());
  Loudspeaker loudspeaker(options.device, parts.synthesizer->rate());
  VoiceChat chat = load_voice(options);
  const CancelOnInterrupt cancel(chat.chat());
  LiveVoice live(chat, *parts.recognizer, *parts.synthesizer, microphone, loudspeaker);
  live.on_question = [](const std::string& question) {
    write_output(terminal_safe("you: " + (question.empty() ? "(not understood)" : question) + "\n"));
  };
  live.on_reply = [](const VoiceReply& reply) { write_output(terminal_safe("qwen35: " + reply.reply.text + "\n")); };
  const Notice notice("listening; Ctrl-C ends");
  live.run([] { return interrupted(); });
  return kInterruptedExitCode;
}

}  // namespace

void add_voice_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("voice", "Answer spoken questions aloud");
  const auto options = std::make_shared<Options>();
  CLI::Option_group* const input = command->add_option_group("Input", "one of these");
  CLI::Option* const in =
      input->add_option("-i,--in", options->in, "recording with questions; several are one conversation")
          ->type_name("FILE")
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  CLI::Option* const mic =
      input->add_flag("--mic", options->mic, "listen and speak; prints what was said; needs headphones");
  input->require_option(1);
  command->add_option("-o,--out", options->out, "WAV file for the answers")->type_name("FILE")->excludes(mic);
  command->add_option("--device", options->device, "ALSA device of --mic")
      ->type_name("NAME")
      ->capture_default_str()
      ->excludes(in);
  command
      ->add_option("--heard-grammar", options->grammar,
                   "what can be said: a file in JSGF, mini (the bundled model's), or none: free dictation")
      ->type_name("FILE")
      ->capture_default_str();
  command->add_option("--voice", options->voice.voice, "voice of eSpeak NG (espeak-ng --voices lists them)")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_option("--rate", options->voice.words_per_minute, "words a minute")
      ->check(in_range(80, 450))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--text", options->text, "print what was understood and what was answered")->excludes(mic);
  command->add_flag("--timing", options->timing, "print how long each step took")->excludes(mic);
  command
      ->add_flag("--json", options->json,
                 "print turns with their times, and the conversation as it is remembered, as one JSON object")
      ->excludes(mic);
  command->add_flag("--no-prefill-ahead", options->no_prefill, "compute nothing while the user speaks");
  command
      ->add_option("--memory-budget", options->memory_budget,
                   "MB for model and voice; a larger model is unloaded while the answer is spoken; 0: no limit")
      ->check(in_range(0, 1 << 20))
      ->type_name("MB")
      ->capture_default_str();
  add_chat_options(*command, options->chat);
  options->chat.generate.enable_thinking = false;
  command->add_flag("--thinking", options->chat.generate.enable_thinking, "let the model think before it answers")
      ->group("Sampling");
  command->footer(
      "PocketSphinx recognises US English at 16 kHz, eSpeak NG speaks. A question that begins while the answer to the\n"
      "one before is being played cuts it off: the recording is the time line, and the model remembers only what had\n"
      "sounded.\n\n"
      "Examples:\n"
      "  espeak-ng -w question.wav \"What is seventeen plus twenty five?\"\n"
      "  qwen35 voice --in question.wav --out answer.wav --text --timing");
  command->callback(
      [options, &run] { run = [options] { return options->mic ? run_microphone(*options) : run_files(*options); }; });
}

}  // namespace qwen35::cli
