#include "cli/conversation_files.h"

#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "cli/chat_json.h"
#include "cli/text_io.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kMaxJson = std::size_t{64} << 20;

/// Whether a file's first character that is no white space begins JSON. A session file begins with letters.
bool holds_json(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  int c = in.get();
  for (int i = 0; i < 4096 && c != EOF && std::isspace(c) != 0; ++i) c = in.get();
  return c == '{' || c == '[';
}

/// Throws unless `file` is a regular file or not there.
bool exists_as_file(const std::filesystem::path& file) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) return false;
  if (std::filesystem::is_regular_file(status)) return true;
  throw Error(ErrorCode::invalid_argument, file.string() + " is not a regular file; choose another name");
}

}  // namespace

void save_conversation(Chat& chat, const std::filesystem::path& file, bool overwrite) {
  if (file.extension() == ".json") {
    write_file(file, messages_to_text(chat.messages()), overwrite);
    return;
  }
  if (exists_as_file(file) && !overwrite) {
    throw Error(ErrorCode::invalid_argument,
                file.string() + " is there already; ask for it to be overwritten, or choose another name");
  }
  chat.save_session(file);
}

void load_conversation(Chat& chat, const std::filesystem::path& file) {
  if (!exists_as_file(file)) throw Error(ErrorCode::not_found, "there is no file " + file.string());
  if (holds_json(file)) {
    chat.set_messages(parse_messages(read_all(file, kMaxJson), file.string()));
  } else {
    chat.load_session(file);
  }
}

StoredSession::StoredSession(Chat& chat, std::filesystem::path file) : chat_(chat), file_(std::move(file)) {
  if (file_.empty()) return;
  const bool exists = exists_as_file(file_);
  const std::filesystem::path folder = file_.has_parent_path() ? file_.parent_path() : ".";
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    throw Error(ErrorCode::invalid_argument, "cannot write " + file_.string() + " at the end: its folder " +
                                                 folder.string() + ": " + std::strerror(errno) +
                                                 "; give a file in a folder that you may write to");
  }
  if (exists) load_conversation(chat, file_);
  saved_ = chat.messages();
}

void StoredSession::save() {
  if (file_.empty() || chat_.messages() == saved_) return;
  save_conversation(chat_, file_, true);
  saved_ = chat_.messages();
}

}  // namespace qwen35::cli
