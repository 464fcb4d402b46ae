#include "hub/cache.h"

#include <qwen35/error.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "hub/names.h"

namespace qwen35::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "models--";
constexpr std::string_view kSeparator = "--";

std::string folder_name(const std::string& id) {
  std::string name(kPrefix);
  for (const char c : id) {
    if (c == '/') {
      name += kSeparator;
    } else {
      name += c;
    }
  }
  return name;
}

/// A name beside `path` that nobody else uses.
fs::path beside(const fs::path& path) {
  static std::atomic<unsigned> count{0};
  return path.parent_path() /
         (".qwen35-" + std::to_string(getpid()) + "-" + std::to_string(count.fetch_add(1)) + ".tmp");
}

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_with("cannot make the folder", folder, error.value());
}

void rename_to(const fs::path& from, const fs::path& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return;
  fail_with("cannot put a file in its place at", to, errno);
}

/// The id that a folder of the cache stands for; "": none.
std::string id_of(std::string name) {
  if (!name.starts_with(kPrefix)) return {};
  name.erase(0, kPrefix.size());
  // No part of an id holds "--": the first one is the slash.
  const std::size_t slash = name.find(kSeparator);
  if (slash == std::string::npos) return {};
  name.replace(slash, kSeparator.size(), "/");
  return is_repository_id(name) ? name : "";
}

}  // namespace

void fail_with(const std::string& what, const fs::path& path, int error) {
  throw Error(ErrorCode::bad_file, what + " " + path.string() + ": " + std::strerror(error) +
                                       "; the cache of models must be a folder where you may write (HF_HUB_CACHE)");
}

CachedRepository::CachedRepository(const fs::path& cache, const std::string& id)
    : id_(id), folder_(cache / folder_name(id)), locks_(cache / ".locks" / folder_name(id)) {
  check_repository_id(id);
}

fs::path CachedRepository::incomplete(const std::string& hash) const {
  return folder_ / "blobs" / (hash + ".incomplete");
}

fs::path CachedRepository::snapshot(const std::string& commit) const { return folder_ / "snapshots" / commit; }

std::optional<std::string> CachedRepository::commit_of(const std::string& revision) const {
  if (is_commit(revision)) return revision;
  check_revision(revision);
  std::ifstream in(folder_ / "refs" / revision, std::ios::binary);
  std::string text(64, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (!is_commit(text)) return std::nullopt;
  return text;
}

std::vector<std::string> CachedRepository::revisions_of(std::string_view commit) const {
  std::vector<std::string> revisions;
  const fs::path refs = folder_ / "refs";
  std::error_code error;
  for (fs::recursive_directory_iterator at(refs, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (!at->is_regular_file(ignored)) continue;
    const std::string revision = at->path().lexically_relative(refs).generic_string();
    if (!problem_with_path(revision).empty() || revision.find_first_of(" ~^:?*[@") != std::string::npos) continue;
    if (commit_of(revision) == commit) revisions.push_back(revision);
  }
  std::sort(revisions.begin(), revisions.end());
  return revisions;
}

std::vector<std::string> CachedRepository::commits() const {
  std::vector<std::string> commits;
  std::error_code error;
  for (fs::directory_iterator at(folder_ / "snapshots", error), end; !error && at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    if (is_commit(name)) commits.push_back(std::move(name));
  }
  std::sort(commits.begin(), commits.end());
  return commits;
}

FileNames CachedRepository::files_of(const std::string& commit) const {
  FileNames names;
  const fs::path top = snapshot(commit);
  std::error_code error;
  // Links to folders are not followed, so this ends; links to files that are gone are not files.
  for (fs::recursive_directory_iterator at(top, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at.depth() >= 1 && at->is_directory(ignored)) at.disable_recursion_pending();
    if (fs::is_regular_file(at->path(), ignored)) names.insert(at->path().lexically_relative(top).generic_string());
  }
  return names;
}

void CachedRepository::note_revision(const std::string& revision, const std::string& commit) const {
  if (revision == commit || commit_of(revision) == commit) return;
  const fs::path path = folder_ / "refs" / revision;
  make_folders(path.parent_path());
  const fs::path temporary = beside(path);
  std::ofstream out(temporary, std::ios::binary);
  out << commit;
  if (!out.flush()) {
    const int error = errno;
    unlink(temporary.c_str());
    fail_with("cannot write", path, error);
  }
  out.close();
  rename_to(temporary, path);
}

bool CachedRepository::can_link() const {
  make_folders(folder_ / "snapshots");
  const fs::path trial = beside(folder_ / "snapshots" / "x");
  const bool made = symlink("..", trial.c_str()) == 0;
  if (made) unlink(trial.c_str());
  return made;
}

void CachedRepository::place(const std::string& commit, const std::string& path, const std::string& hash,
                             Placing how) const {
  const fs::path place = snapshot(commit) / path;
  const fs::path source = blob(hash);
  make_folders(place.parent_path());
  if (how == Placing::move) return rename_to(source, place);
  std::error_code error;
  const fs::path target = source.lexically_relative(place.parent_path());
  if (how == Placing::link && fs::read_symlink(place, error) == target && !error) return;
  const fs::path temporary = beside(place);
  if (how == Placing::link) {
    fs::create_symlink(target, temporary, error);
  } else {
    fs::copy_file(source, temporary, error);
  }
  if (error) {
    unlink(temporary.c_str());
    fail_with("cannot make", place, error.value());
  }
  rename_to(temporary, place);
}

std::vector<std::string> cached_repositories(const fs::path& cache) {
  std::vector<std::string> ids;
  std::error_code error;
  for (fs::directory_iterator at(cache, error), end; !error && at != end; at.increment(error)) {
    std::string id = id_of(at->path().filename().string());
    if (!id.empty()) ids.push_back(std::move(id));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::string name_of_folder(const fs::path& folder) {
  fs::path whole = folder.lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  std::string variant;
  if (!is_commit(whole.filename().string())) {
    variant = ":" + whole.filename().string();
    whole = whole.parent_path();
  }
  if (!is_commit(whole.filename().string()) || whole.parent_path().filename() != "snapshots") return {};
  const std::string id = id_of(whole.parent_path().parent_path().filename().string());
  return id.empty() ? "" : id + variant;
}

}  // namespace qwen35::hub
