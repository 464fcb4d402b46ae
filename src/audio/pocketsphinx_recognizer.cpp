#include "audio/pocketsphinx_recognizer.h"

#include <pocketsphinx.h>
#include <qwen35/error.h>
#include <sphinxbase/err.h>
#include <sphinxbase/fsg_model.h>
#include <sphinxbase/jsgf.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "audio/spoken_grammar.h"

#ifdef QWEN35_SANITIZED
/// SphinxBase's scanner of grammars leaks what a bad grammar left it holding.
extern "C" const char* __lsan_default_suppressions() { return "leak:libsphinxbase"; }  // NOLINT
#endif

namespace qwen35 {
namespace {

namespace fs = std::filesystem;

constexpr int kRate = 16000;
constexpr std::size_t kMostFirst = 30 * kRate;
constexpr std::size_t kMaxGrammar = std::size_t{4} << 20;

/// The library logs to a function of the whole process; we keep the last error of each thread for our message.
thread_local std::string last_error;

void on_log(void* /*data*/, err_lvl_t level, const char* format, ...) {
  if (level < ERR_ERROR) return;
  std::array<char, 512> line{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line.data(), line.size(), format, arguments);
  va_end(arguments);
  std::string text = line.data();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (const std::size_t tag = text.find("): ");
      text.find("\", line ") != std::string::npos && tag != std::string::npos) {
    text.erase(0, tag + 3);
  }
  if (!text.empty()) last_error = text;
}

struct FreeConfig {
  void operator()(cmd_ln_t* config) const { cmd_ln_free_r(config); }
};
struct FreeGrammar {
  void operator()(jsgf_t* grammar) const { jsgf_grammar_free(grammar); }
};
struct FreeModel {
  void operator()(fsg_model_t* model) const { fsg_model_free(model); }
};
struct FreeDecoder {
  void operator()(ps_decoder_t* decoder) const { ps_free(decoder); }
};

std::string read_grammar(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    throw Error(ErrorCode::not_found, path.string() + ": no such grammar file; expected a grammar in JSGF");
  }
  if (fs::file_size(path, error) > kMaxGrammar || error) {
    throw Error(ErrorCode::bad_file, path.string() + ": too large or unreadable; expected a grammar of at most 4 MB");
  }
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in) throw Error(ErrorCode::bad_file, path.string() + ": cannot be read");
  return text;
}

class PocketSphinxRecognizer final : public Recognizer {
 public:
  explicit PocketSphinxRecognizer(const PocketSphinxOptions& options) {
    err_set_logfp(nullptr);  // a setting of each thread: nothing is printed
    err_set_callback(on_log, nullptr);
    const fs::path model = options.model.empty() ? fs::path(QWEN35_POCKETSPHINX_MODEL) / "en-us" : options.model;
    const std::string acoustic = (model / "en-us").string();
    const std::string dictionary = (model / "cmudict-en-us.dict").string();
    const std::string words = (model / "en-us.lm.bin").string();
    for (const std::string& path : {acoustic, dictionary}) {
      if (!fs::exists(path)) {
        throw Error(ErrorCode::not_found,
                    "there is no speech model at " + path + "; on Debian install pocketsphinx-en-us");
      }
    }
    // Its own silence and noise removal cost words of clean speech (the endpointer has cut the silence already), and
    // its beams are too narrow for a grammar: of 162 questions of three synthetic voices 107 were read right with the
    // defaults, 118 without the removal, 125 with these beams too.
    config_.reset(cmd_ln_init(nullptr, ps_args(), 1, "-hmm", acoustic.c_str(), "-dict", dictionary.c_str(),
                              "-remove_noise", "no", "-remove_silence", "no", "-beam", "1e-80", "-pbeam", "1e-80",
                              "-wbeam", "1e-60", nullptr));
    if (config_ && options.grammar.empty()) cmd_ln_set_str_r(config_.get(), "-lm", words.c_str());
    if (config_) decoder_.reset(ps_init(config_.get()));
    if (!decoder_)
      throw Error(ErrorCode::bad_file, "the speech model in " + model.string() + " does not load: " + last_error);
    if (!options.grammar.empty()) use_grammar(options.grammar);
  }

  [[nodiscard]] int rate() const override { return kRate; }

  void start() override {
    stop();
    check(ps_start_utt(decoder_.get()), "begin an utterance");
    started_ = true;
    first_.clear();
  }

  void push(std::span<const std::int16_t> samples) override {
    if (!started_) throw Error(ErrorCode::invalid_argument, "Recognizer::push before start()");
    check(ps_process_raw(decoder_.get(), samples.data(), samples.size(), 0, 0), "read speech");
    if (!adapted_ && first_.size() < kMostFirst) first_.insert(first_.end(), samples.begin(), samples.end());
  }

  std::string partial() override { return hypothesis(); }

  std::string finish() override {
    if (!started_) throw Error(ErrorCode::invalid_argument, "Recognizer::finish before start()");
    stop();
    std::string text = hypothesis();
    if (adapted_ || first_.empty()) return text;
    // The decoder has just learnt how this voice and microphone sound: the first utterance is read once more.
    check(ps_start_utt(decoder_.get()), "begin an utterance");
    started_ = true;
    check(ps_process_raw(decoder_.get(), first_.data(), first_.size(), 0, 0), "read speech");
    stop();
    text = hypothesis();
    adapted_ = !text.empty();
    first_ = {};
    return text;
  }

 private:
  void use_grammar(const fs::path& path) {
    grammar_ = parse_grammar(read_grammar(path), path.string());
    last_error.clear();
    // What ps_set_jsgf_string() does, but that it never frees the parsed grammar.
    const std::unique_ptr<jsgf_t, FreeGrammar> parsed(jsgf_parse_string(grammar_.text.c_str(), nullptr));
    jsgf_rule_t* const rule = parsed ? jsgf_get_public_rule(parsed.get()) : nullptr;
    std::unique_ptr<fsg_model_t, FreeModel> model;
    if (rule != nullptr) {
      const auto weight = static_cast<float>(cmd_ln_float_r(config_.get(), "-lw"));
      model.reset(jsgf_build_fsg(parsed.get(), rule, ps_get_logmath(decoder_.get()), weight));
    }
    const bool set = model && ps_set_fsg(decoder_.get(), "grammar", model.get()) == 0 &&
                     ps_set_search(decoder_.get(), "grammar") == 0;
    if (!set || !last_error.empty()) {
      throw Error(ErrorCode::bad_file, path.string() + ": the recogniser does not take this grammar: " +
                                           (last_error.empty() ? "no public rule" : last_error) +
                                           "; expected JSGF with a public rule and words of cmudict-en-us.dict");
    }
  }

  static void check(int result, const char* what) {
    if (result < 0) throw Error(ErrorCode::internal, std::string("PocketSphinx cannot ") + what + ": " + last_error);
  }

  void stop() {
    if (!std::exchange(started_, false)) return;
    check(ps_end_utt(decoder_.get()), "end an utterance");
  }

  std::string hypothesis() {
    std::int32_t score = 0;
    const char* const text = ps_get_hyp(decoder_.get(), &score);
    return text == nullptr ? std::string() : grammar_.spell(text);
  }

  std::unique_ptr<cmd_ln_t, FreeConfig> config_;
  std::unique_ptr<ps_decoder_t, FreeDecoder> decoder_;
  SpokenGrammar grammar_;
  bool started_ = false;
  bool adapted_ = false;             ///< an utterance was understood
  std::vector<std::int16_t> first_;  ///< until then: the utterance so far
};

}  // namespace

std::unique_ptr<Recognizer> make_pocketsphinx_recognizer(const PocketSphinxOptions& options) {
  return std::make_unique<PocketSphinxRecognizer>(options);
}

}  // namespace qwen35
