// What is in the cache: found, listed, removed. Needs no network.
#include <qwen35/error.h>
#include <qwen35/hub.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <tuple>

#include "hub/cache.h"
#include "hub/environment.h"
#include "hub/file_lock.h"
#include "hub/names.h"
#include "hub/selection.h"

namespace qwen35::hub {
namespace {

namespace fs = std::filesystem;

std::uint64_t size_of(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

/// nullopt when a part of the model is not there.
std::optional<CachedModel> describe(const CachedRepository& repository, const std::string& commit,
                                    const FileNames& files, const std::string& variant) {
  const Selection selection = select_files(files, variant);
  if (!selection.missing.empty()) return std::nullopt;
  CachedModel model;
  model.id = repository.id();
  model.variant = variant;
  model.commit = commit;
  model.revisions = repository.revisions_of(commit);
  model.path = variant.empty() ? repository.snapshot(commit) : repository.snapshot(commit) / variant;
  for (const std::string& file : selection.files) model.bytes += size_of(repository.snapshot(commit) / file);
  return model;
}

std::vector<CachedModel> models_of(const CachedRepository& repository, const std::string& commit) {
  std::vector<CachedModel> models;
  const FileNames files = repository.files_of(commit);
  for (const std::string& variant : variants_of(files)) {
    if (auto model = describe(repository, commit, files, variant)) models.push_back(std::move(*model));
  }
  return models;
}

/// The blobs that the links below `folder` lead to.
std::set<std::string> blobs_below(const CachedRepository& repository, const fs::path& folder) {
  std::set<std::string> hashes;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    const fs::path target = fs::read_symlink(at->path(), ignored);
    if (ignored) continue;
    const fs::path whole = (at->path().parent_path() / target).lexically_normal();
    if (whole.parent_path() == (repository.folder() / "blobs").lexically_normal()) {
      hashes.insert(whole.filename().string());
    }
  }
  return hashes;
}

/// Deletes a file of the cache and counts what the disk got back.
void delete_file(const fs::path& path, std::uint64_t& freed) {
  std::error_code error;
  const std::uint64_t size = fs::is_symlink(path, error) ? 0 : size_of(path);
  if (fs::remove(path, error)) freed += size;
  if (error) fail_with("cannot delete", path, error.value());
}

void delete_folder(const fs::path& folder, std::uint64_t& freed) {
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (!at->is_symlink(ignored) && at->is_regular_file(ignored)) freed += size_of(at->path());
  }
  fs::remove_all(folder, error);
  if (error) fail_with("cannot delete", folder, error.value());
}

/// Deletes a blob and what there is of it, unless somebody is receiving it.
void delete_blob(const CachedRepository& repository, const std::string& hash, std::uint64_t& freed) {
  const auto lock = FileLock::try_lock(repository.lock(hash));
  if (!lock) return;
  delete_file(repository.blob(hash), freed);
  delete_file(repository.incomplete(hash), freed);
}

/// The hashes of all blobs, whole or not.
std::set<std::string> all_blobs(const CachedRepository& repository) {
  std::set<std::string> hashes;
  std::error_code error;
  for (fs::directory_iterator at(repository.folder() / "blobs", error), end; !error && at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    if (name.ends_with(".incomplete")) name.resize(name.find('.'));
    if (is_hex(name, 40) || is_hex(name, 64)) hashes.insert(std::move(name));
  }
  return hashes;
}

/// Takes what is to go out of one snapshot; the blobs that its links led to.
std::set<std::string> empty_snapshot(const CachedRepository& repository, const std::string& commit,
                                     const std::string& variant, Removed& removed) {
  const fs::path folder = repository.snapshot(commit);
  const auto models = models_of(repository, commit);
  if (variant.empty()) {
    auto blobs = blobs_below(repository, folder);
    removed.models += models.size();
    delete_folder(folder, removed.bytes);
    return blobs;
  }
  auto blobs = blobs_below(repository, folder / variant);
  std::error_code error;
  if (!fs::is_directory(folder / variant, error)) return {};
  removed.models += 1;
  delete_folder(folder / variant, removed.bytes);
  // What stays at the top served the variants; without any it serves nobody.
  if (variants_of(repository.files_of(commit)).empty()) {
    blobs.merge(blobs_below(repository, folder));
    delete_folder(folder, removed.bytes);
  }
  return blobs;
}

[[noreturn]] void not_cached(const std::string& id, const DownloadOptions& options, const fs::path& cache) {
  throw Error(ErrorCode::not_found, id + (options.variant.empty() ? "" : ":" + options.variant) +
                                        (options.revision.empty() ? "" : "@" + options.revision) +
                                        " is not in the cache " + cache.string() + "; see: qwen35 list");
}

}  // namespace

std::optional<CachedModel> find(const std::string& id, const DownloadOptions& options) {
  const CachedRepository repository(read_environment(options).cache, id);
  if (!options.variant.empty()) check_variant(options.variant);
  const auto commit = repository.commit_of(options.revision.empty() ? "main" : options.revision);
  if (!commit) return std::nullopt;
  const FileNames files = repository.files_of(*commit);
  std::string variant = options.variant;
  if (variant.empty()) {
    // As choose_variant(), but what is not in the cache may be on the hub: then this is no place to complain.
    const std::vector<std::string> existing = variants_of(files);
    if (id == kDefaultRepository && existing != std::vector<std::string>{""}) {
      variant = kDefaultVariant;
    } else if (existing.size() == 1) {
      variant = existing.front();
    }
  }
  return describe(repository, *commit, files, variant);
}

std::vector<CachedModel> list(const fs::path& cache) {
  const fs::path folder = cache.empty() ? read_environment({}).cache : cache;
  std::vector<CachedModel> models;
  for (const std::string& id : cached_repositories(folder)) {
    const CachedRepository repository(folder, id);
    for (const std::string& commit : repository.commits()) {
      for (CachedModel& model : models_of(repository, commit)) models.push_back(std::move(model));
    }
  }
  std::stable_sort(models.begin(), models.end(), [](const CachedModel& a, const CachedModel& b) {
    return std::tie(a.id, a.variant, a.commit) < std::tie(b.id, b.variant, b.commit);
  });
  return models;
}

Removed remove(const std::string& id, const DownloadOptions& options) {
  const fs::path cache = read_environment(options).cache;
  const CachedRepository repository(cache, id);
  if (!options.variant.empty()) check_variant(options.variant);
  std::error_code error;
  if (!fs::is_directory(repository.folder(), error)) not_cached(id, options, cache);

  std::vector<std::string> commits = repository.commits();
  if (!options.revision.empty()) {
    const auto commit = repository.commit_of(options.revision);
    if (!commit || std::find(commits.begin(), commits.end(), *commit) == commits.end()) {
      not_cached(id, options, cache);
    }
    commits = {*commit};
  }
  const bool everything = options.variant.empty() && options.revision.empty();
  Removed removed;
  std::set<std::string> loose = everything ? all_blobs(repository) : std::set<std::string>();
  for (const std::string& commit : commits) {
    // The names first: nobody shall find a revision that is half there.
    if (options.variant.empty()) {
      for (const std::string& revision : repository.revisions_of(commit)) {
        delete_file(repository.folder() / "refs" / revision, removed.bytes);
      }
    }
    loose.merge(empty_snapshot(repository, commit, options.variant, removed));
  }
  if (!everything && removed.models == 0 && removed.bytes == 0 && loose.empty()) not_cached(id, options, cache);
  const std::set<std::string> used = blobs_below(repository, repository.folder() / "snapshots");
  for (const std::string& hash : loose) {
    if (!used.contains(hash)) delete_blob(repository, hash, removed.bytes);
  }
  if (repository.commits().empty() && all_blobs(repository).empty()) {
    delete_folder(repository.folder(), removed.bytes);  // the lock files stay: somebody may hold one
  }
  return removed;
}

}  // namespace qwen35::hub
