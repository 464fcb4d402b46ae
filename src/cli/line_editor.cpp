#include "cli/line_editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <system_error>
#include <utility>

#include "cli/interrupt.h"

namespace qwen35::cli {
namespace {

constexpr int kHistorySize = 1000;
// libedit takes this character as the bounds of what the terminal does not show.
constexpr char kEscape = '\1';

/// libedit goes through wide characters, so without a UTF-8 locale nothing but ASCII could be typed.
void use_utf8_locale() {
  const char* locale = std::setlocale(LC_CTYPE, "");
  if (locale == nullptr || std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

/// libedit's own reader tries an interrupted read a second time and would swallow Ctrl-C; this one returns -1.
int read_character(EditLine* editor, wchar_t* character) {
  FILE* in = nullptr;
  if (el_get(editor, EL_GETFP, 0, &in) != 0 || in == nullptr) return -1;
  std::mbstate_t state = {};
  for (;;) {
    if (!wait_for_input(fileno(in))) return -1;
    char byte = 0;
    const ssize_t got = ::read(fileno(in), &byte, 1);
    if (got < 0 && errno == EINTR) continue;  // a window resized, or back from Ctrl-Z
    if (got <= 0) return static_cast<int>(got);
    const std::size_t length = std::mbrtowc(character, &byte, 1, &state);
    if (length == static_cast<std::size_t>(-2)) continue;  // more bytes to come
    if (length == static_cast<std::size_t>(-1)) *character = L'\uFFFD';
    return 1;
  }
}

}  // namespace

std::filesystem::path history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return std::filesystem::path(state) / "qwen35" / "history";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return std::filesystem::path(home) / ".local/state/qwen35/history";
  return {};
}

struct LineEditor::Impl {
  std::string prompt;
  std::filesystem::path path;
  History* history = nullptr;
  EditLine* editor = nullptr;

  static char* prompt_of(EditLine* line) {
    Impl* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }
};

LineEditor::LineEditor(std::string prompt, bool colour, std::filesystem::path history)
    : impl_(std::make_unique<Impl>()) {
  use_utf8_locale();
  impl_->prompt = std::move(prompt);
  if (colour) impl_->prompt = "\1\033[1;32m\1" + impl_->prompt + "\1\033[0m\1";
  impl_->path = std::move(history);
  impl_->history = history_init();
  impl_->editor = el_init("qwen35", stdin, stdout, stderr);
  if (impl_->history == nullptr || impl_->editor == nullptr) {
    throw std::system_error(errno != 0 ? errno : ENOMEM, std::generic_category(), "cannot set the terminal up");
  }
  HistEvent event;
  ::history(impl_->history, &event, H_SETSIZE, kHistorySize);
  ::history(impl_->history, &event, H_SETUNIQUE, 1);
  if (!impl_->path.empty()) ::history(impl_->history, &event, H_LOAD, impl_->path.c_str());
  EditLine* const editor = impl_->editor;
  el_set(editor, EL_CLIENTDATA, impl_.get());
  el_set(editor, EL_PROMPT_ESC, &Impl::prompt_of, kEscape);
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_SIGNAL, 1);  // restores the terminal on Ctrl-Z and SIGTERM, follows its size
  el_set(editor, EL_HIST, ::history, impl_->history);
  el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_source(editor, nullptr);  // the user's ~/.editrc, a vi mode for instance
  el_wset(editor, EL_GETCFN, &read_character);
}

LineEditor::~LineEditor() {
  if (impl_->editor != nullptr) el_end(impl_->editor);
  if (impl_->history != nullptr) history_end(impl_->history);
}

LineEditor::Result LineEditor::read() {
  // el_gets would show the prompt first, and a key pressed before the terminal is ready (Ctrl-D) would be lost.
  el_set(impl_->editor, EL_PREP_TERM, 1);
  int count = 0;
  const char* text = el_gets(impl_->editor, &count);
  if (interrupted()) {
    el_reset(impl_->editor);
    return {Status::interrupted, {}};
  }
  if (text == nullptr || count <= 0) return {Status::end, {}};
  std::string line(text, std::strlen(text));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  if (line.find_first_not_of(" \t") != std::string::npos) {
    HistEvent event;
    ::history(impl_->history, &event, H_ENTER, line.c_str());
  }
  return {Status::line, std::move(line)};
}

void LineEditor::save_history() noexcept {
  if (impl_->path.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(impl_->path.parent_path(), error);
  const std::string temporary = impl_->path.string() + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return;
  FILE* file = fdopen(fd, "w");
  if (file == nullptr) {
    close(fd);
    return;
  }
  HistEvent event;
  const bool written = ::history(impl_->history, &event, H_SAVE_FP, file) >= 0;
  if (std::fclose(file) == 0 && written) {
    std::filesystem::rename(temporary, impl_->path, error);
  } else {
    unlink(temporary.c_str());
  }
}

}  // namespace qwen35::cli
