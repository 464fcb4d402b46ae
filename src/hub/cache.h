#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/selection.h"

namespace qwen35::hub {

/// What stands in a snapshot: a relative link to the blob, or where there are no links the bytes themselves.
enum class Placing { link, copy, move };

/// One repository in the cache, laid out as huggingface_hub does:
///
///     <cache>/models--org--name/blobs/<hash>                  the bytes; <hash>.incomplete while they come
///                               refs/<revision>               holds the commit
///                               snapshots/<commit>/<path>     a link to ../../blobs/<hash>
///     <cache>/.locks/models--org--name/<hash>.lock            taken by whoever receives that blob
///
/// Nothing is made until it is written to. Any thread; what it tells may have changed by another process since.
class CachedRepository {
 public:
  CachedRepository(const std::filesystem::path& cache, const std::string& id);

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path blob(const std::string& hash) const { return folder_ / "blobs" / hash; }
  [[nodiscard]] std::filesystem::path incomplete(const std::string& hash) const;
  [[nodiscard]] std::filesystem::path lock(const std::string& hash) const { return locks_ / (hash + ".lock"); }
  [[nodiscard]] std::filesystem::path snapshot(const std::string& commit) const;

  /// The commit that a revision stood for when it was last asked for; a commit stands for itself. nullopt: not known.
  [[nodiscard]] std::optional<std::string> commit_of(const std::string& revision) const;
  /// The revisions that stand for `commit`, sorted.
  [[nodiscard]] std::vector<std::string> revisions_of(std::string_view commit) const;
  /// The commits there are snapshots of, sorted.
  [[nodiscard]] std::vector<std::string> commits() const;
  /// The files of a snapshot whose bytes are there.
  [[nodiscard]] FileNames files_of(const std::string& commit) const;

  /// Notes that `revision` is `commit`, in one step. Nothing to note for a commit. Throws bad_file.
  void note_revision(const std::string& revision, const std::string& commit) const;
  /// Whether symbolic links can be made here: some disks have none.
  [[nodiscard]] bool can_link() const;
  /// Makes `path` of the snapshot the bytes of blob `hash`, in one step. Throws bad_file.
  void place(const std::string& commit, const std::string& path, const std::string& hash, Placing how) const;

 private:
  std::string id_;
  std::filesystem::path folder_;
  std::filesystem::path locks_;
};

/// The ids of the models in the cache, sorted.
std::vector<std::string> cached_repositories(const std::filesystem::path& cache);

/// What a folder of a snapshot is called, "org/name" or "org/name:variant"; "" for any other folder.
std::string name_of_folder(const std::filesystem::path& folder);

/// Throws bad_file with the system's reason.
[[noreturn]] void fail_with(const std::string& what, const std::filesystem::path& path, int error);

}  // namespace qwen35::hub
