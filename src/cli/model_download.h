#pragma once

#include <qwen35/hub.h>

#include <chrono>
#include <filesystem>
#include <string>

namespace qwen35::cli {

/// Tells on standard error how far a download is: on a terminal one line that is written anew, elsewhere a line at the
/// start, at every tenth of it, at the end and for whatever holds it up. Not thread-safe.
class DownloadDisplay {
 public:
  DownloadDisplay();
  ~DownloadDisplay();  ///< erases the line
  DownloadDisplay(const DownloadDisplay&) = delete;
  DownloadDisplay& operator=(const DownloadDisplay&) = delete;

  void show(const hub::DownloadProgress& progress);

 private:
  void show_line(const hub::DownloadProgress& progress);
  void print_lines(const hub::DownloadProgress& progress);

  bool terminal_;
  bool shown_ = false;
  bool begun_ = false;
  int tenths_ = 0;
  std::string remark_;
};

/// "3:05", "1:02:03".
std::string clock_time(double seconds);

/// The folder of `--model`: what is not on this machine is downloaded, told by a DownloadDisplay. Ctrl-C then throws
/// Error(cancelled), which main() turns into exit code 130.
std::filesystem::path find_model(const std::string& model);

/// A download for a command: shows its progress (if `show`) and stops at Ctrl-C.
hub::CachedModel pull_model(const std::string& id, hub::DownloadOptions options, bool show);

}  // namespace qwen35::cli
