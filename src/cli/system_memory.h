#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

namespace qwen35::cli {

/// Reads the files of `folder` (not of folders in it) once, so that they lie in the page cache. What cannot be read is
/// passed over: whoever needs the file will say so.
void fill_page_cache(const std::filesystem::path& folder);

/// Asks the kernel to drop the files of `folder` from its page cache and looks whether it did. False: some pages
/// stayed, because another process maps the file, the folder lies in memory (tmpfs), or we may not know; or the system
/// has no such request. A virtual machine's host may hold the files all the same.
bool drop_page_cache(const std::filesystem::path& folder);

/// Gives freed memory back to the system, so that the next load begins as a new process would.
void release_freed_memory() noexcept;

/// Lets peak_resident_bytes() count from now on. False where that cannot be: it counts from the process's start.
bool reset_peak_resident() noexcept;
/// The most memory that was resident at once, mapped files included. nullopt where the system does not say.
std::optional<std::size_t> peak_resident_bytes();

}  // namespace qwen35::cli
