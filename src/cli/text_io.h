#pragma once

#include <cstddef>
#include <filesystem>
#include <istream>
#include <optional>
#include <string>
#include <string_view>

namespace qwen35::cli {

/// Writes to standard output and flushes. Throws std::system_error naming standard output when that fails: a full disk,
/// or a reader that has gone (SIGPIPE is ignored).
void write_output(std::string_view text);
/// Throws as write_output() if anything written to standard output so far was lost.
void check_output();

/// Reads the next line without its "\n" (and "\r\n"). nullopt: end of input. Throws Error naming `what` when a line is
/// longer than `limit` bytes, after the rest of that line has been skipped, so that a caller may go on.
std::optional<std::string> read_line(std::istream& in, std::size_t limit, std::string_view what);

/// All of standard input ("-") or of a file. Throws Error naming it: missing, a folder, unreadable, above `limit`
/// bytes.
std::string read_all(const std::filesystem::path& path, std::size_t limit);

/// Writes `text` so that `path` holds all of it or what it held before (a temporary file beside it, renamed); mode
/// 0600. Throws Error: cannot be written, exists and `overwrite` is false, or is no regular file.
void write_file(const std::filesystem::path& path, std::string_view text, bool overwrite);

/// `text` without the control characters that could drive a terminal (escape sequences of a model's answer): C0 but
/// newline and tab, DEL, C1. `text` is well-formed UTF-8.
std::string terminal_safe(std::string_view text);

}  // namespace qwen35::cli
