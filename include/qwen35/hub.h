#pragma once

/// Models from the Hugging Face hub, for programs that want the files without a Chat. Chat::from_pretrained() goes
/// through the same cache, which is laid out as huggingface_hub's and shared with it and with every other tool that
/// uses it.
///
///     auto model = qwen35::hub::download("aufklarer/Qwen3.5-0.8B-Chat-MLX", {.variant = "int4"});
///     auto chat = qwen35::Chat::from_pretrained(model.path.string());
///
/// Where DownloadOptions leave a thing open the environment decides: HF_ENDPOINT, HF_TOKEN (else the file at
/// HF_TOKEN_PATH or $HF_HOME/token), HF_HUB_OFFLINE, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_HUB_DOWNLOAD_TIMEOUT,
/// HF_HUB_DISABLE_SYMLINKS, and the usual http_proxy, https_proxy and no_proxy. See docs/hub.md.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace qwen35::hub {

/// How far a download is, over all its files together. Handed out about ten times a second.
struct DownloadProgress {
  enum class Phase {
    listing,      ///< the hub is asked what there is
    downloading,  ///< bytes come, or are waited for
    done,         ///< everything is in its place
  };
  Phase phase = Phase::listing;
  std::string repository;        ///< "org/name"
  std::string variant;           ///< "" for files at the repository's top
  std::size_t files = 0;         ///< that the model needs
  std::size_t files_done = 0;    ///< of these, whole and checked
  std::uint64_t bytes = 0;       ///< of all files
  std::uint64_t bytes_done = 0;  ///< of these, on the disk; goes back when a file must begin anew
  double bytes_per_second = 0;   ///< over the last few seconds
  double seconds_left = -1;      ///< at that rate; -1: not known
  std::string file;              ///< one that is being received, "" for none
  std::string remark;            ///< why nothing comes just now: "the hub asks to wait 3 s (429)"; "" otherwise
};

struct DownloadOptions {
  std::string variant = {};          ///< a folder of the repository, such as "int4"; "": the default one, or the top
  std::string revision = {};         ///< branch, tag or commit; "": main
  bool offline = false;              ///< never uses the network; HF_HUB_OFFLINE says the same for everybody
  std::filesystem::path cache = {};  ///< the folder that holds models--org--name; "": as the environment says
  std::string endpoint = {};         ///< "": HF_ENDPOINT, else https://huggingface.co
  std::string token = {};            ///< "": as the environment says; sent to the endpoint's host alone
  int parallel = 4;                  ///< files at once, 1 to 16
  int retries = 5;                   ///< tries in a row that bring nothing, before it is given up; 0 to 100
  int backoff_ms = 1000;  ///< wait before the first new try; doubles up to 30 s, a little at random; 0 to 60000
  int stall_seconds = 0;  ///< a connection slower than 1 KiB/s for so long is dropped; 0: the environment's, else 10
  std::function<void(const DownloadProgress&)> on_progress = {};  ///< on the calling thread; must not throw
  std::stop_token cancel = {};  ///< stops within 0.2 s; what has come stays and is continued the next time
};

/// A model whose files are all in the cache.
struct CachedModel {
  std::string id;                      ///< "org/name"
  std::string variant;                 ///< "" for files at the repository's top
  std::string commit;                  ///< 40 hexadecimal digits
  std::vector<std::string> revisions;  ///< branches and tags that the cache knows to point there
  std::filesystem::path path;          ///< the folder with config.json and *.safetensors, for Chat::from_pretrained()
  std::uint64_t bytes = 0;             ///< of the files that the model needs
  std::uint64_t downloaded_bytes = 0;  ///< of these, received by this call of download()
};

/// What remove() did.
struct Removed {
  std::size_t models = 0;   ///< that were taken out of the cache
  std::uint64_t bytes = 0;  ///< that the disk got back: other revisions and variants may share files
};

/// Whether this library was built with downloads (libcurl and OpenSSL). Without, what is in the cache still loads.
bool can_download() noexcept;

/// Brings the newest files of a model into the cache, those alone that are needed and not there yet, and says where
/// they are. Several threads and processes may ask for the same model at once: each file is received once. Sizes and
/// hashes are checked; a file has its name only when it is whole. Breaks, 429 and 5xx are waited out.
/// Throws invalid_argument (a malformed id), not_found (no such repository, revision or variant, or offline and not in
/// the cache), network (the hub is not reached or does not deliver), bad_file (a listing or a file that is not what it
/// should be, a full disk), cancelled, unsupported (a build without downloads).
CachedModel download(const std::string& id, const DownloadOptions& options = {});

/// The model as the cache has it, without any network; nullopt: not there, or not all of it.
std::optional<CachedModel> find(const std::string& id, const DownloadOptions& options = {});

/// Every whole model of every repository in the cache, by id, variant and commit. Other tools' models are among them.
std::vector<CachedModel> list(const std::filesystem::path& cache = {});

/// Takes a model out of the cache: with `options.variant` that variant alone, with `options.revision` that revision
/// alone, else all that the cache has of the repository. Files that nothing else uses are deleted, but for those that
/// another process is receiving. Throws not_found, or bad_file when the system refuses.
Removed remove(const std::string& id, const DownloadOptions& options = {});

}  // namespace qwen35::hub
