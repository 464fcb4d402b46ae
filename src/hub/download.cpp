#include "hub/download.h"

#include <qwen35/error.h>

#include <algorithm>
#include <list>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "hub/cache.h"
#include "hub/environment.h"
#include "hub/http.h"
#include "hub/listing.h"
#include "hub/meter.h"
#include "hub/names.h"
#include "hub/selection.h"
#include "hub/transfer.h"

namespace qwen35::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPage = std::size_t{16} << 20;  // bytes of one page of a listing
constexpr std::size_t kMaxPages = 1000;
constexpr int kStepMs = 50;  // a cancel and the progress wait no longer than that
constexpr auto kReportEvery = std::chrono::milliseconds(100);

class Download {
 public:
  Download(const std::string& id, const DownloadOptions& options, Environment environment, const Disk& disk)
      : options_(options),
        disk_(disk),
        links_(environment.links),
        revision_(options.revision.empty() ? "main" : options.revision),
        repository_(environment.cache, id),
        settings_{
            .endpoint = environment.endpoint, .token = environment.token, .stall_seconds = environment.stall_seconds},
        patience_{.retries = options.retries, .backoff_ms = options.backoff_ms} {
    progress_.repository = id;
  }

  ~Download() {
    for (Transfer& transfer : transfers_) {
      if (transfer.running()) exchanges_.stop(*transfer.exchange());
    }
  }

  CachedModel run() {
    tick();
    commit_ = parse_commit(get(api() + "/revision/" + percent_encoded(revision_, false), nullptr), revision_);
    const std::vector<RemoteFile> wanted = choose(list_files());
    progress_.phase = DownloadProgress::Phase::downloading;
    for (const RemoteFile& file : wanted) {
      progress_.bytes += file.size;
      ++progress_.files;
    }
    begin_transfers(wanted);
    check_space();
    report();
    receive();
    place(wanted);
    progress_.phase = DownloadProgress::Phase::done;
    progress_.file.clear();
    report();
    return model(wanted);
  }

 private:
  [[nodiscard]] const std::string& id() const { return repository_.id(); }
  [[nodiscard]] std::string api() const { return settings_.endpoint + "/api/models/" + id(); }

  /// Between pieces of work: whether to stop, and the progress when it is time.
  void tick() {
    if (options_.cancel.stop_requested()) {
      throw Error(ErrorCode::cancelled,
                  "the download of " + id() + " was stopped; what has come stays, and the next run goes on from there");
    }
    if (options_.on_progress && Clock::now() >= next_report_) report();
  }

  void report() {
    next_report_ = Clock::now() + kReportEvery;
    if (!options_.on_progress) return;
    progress_.bytes_done = placed_bytes_;
    progress_.files_done = placed_files_;
    progress_.file.clear();
    std::string remark = waiting_;
    std::uint64_t received = 0;
    for (const Transfer& transfer : transfers_) {
      progress_.bytes_done += transfer.bytes_done();
      progress_.files_done += transfer.done() ? 1 : 0;
      received += transfer.received();
      if (transfer.running() && progress_.file.empty()) progress_.file = transfer.file().path;
      if (remark.empty() && !transfer.done()) remark = transfer.remark();
    }
    if (progress_.phase != DownloadProgress::Phase::listing) meter_.add(Clock::now(), received);
    progress_.bytes_per_second = meter_.rate();
    const auto left = static_cast<double>(progress_.bytes - std::min(progress_.bytes, progress_.bytes_done));
    progress_.seconds_left = progress_.bytes_per_second > 1 ? left / progress_.bytes_per_second : -1;
    progress_.remark = std::move(remark);
    options_.on_progress(progress_);
  }

  /// The body of a small answer. `link`: takes the header of that name. Throws.
  std::string get(const std::string& url, std::string* link) {
    for (int attempt = 1;; ++attempt) {
      std::string body;
      Exchange exchange(settings_, url, {}, [&body](const Answer& answer, std::span<const std::byte> bytes) {
        if (answer.content_type.starts_with("text/html")) {
          throw Error(ErrorCode::network,
                      "a web page came where the hub's interface was asked; something between (a proxy, a network that "
                      "wants a login) answers for it, or HF_ENDPOINT is no hub");
        }
        if (bytes.size() > kMaxPage - body.size()) {
          throw Error(ErrorCode::bad_file, "the hub's listing is larger than " + human_bytes(kMaxPage) + " a page");
        }
        body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return true;
      });
      const Outcome outcome = finish(exchange);
      if (exchange.failure()) std::rethrow_exception(exchange.failure());
      if (outcome.verdict == Outcome::Verdict::done) {
        if (link != nullptr) *link = exchange.answer().link;
        return body;
      }
      if (outcome.verdict == Outcome::Verdict::give_up) {
        throw Error(outcome.code, id() + (options_.revision.empty() ? "" : "@" + revision_) + " at " +
                                      settings_.endpoint + ": " + outcome.why);
      }
      // Without any connection it is likelier that there is no network than that the hub is busy.
      const int most = outcome.unreachable ? std::min(patience_.retries, 1) : patience_.retries;
      if (attempt > most) {
        throw Error(ErrorCode::network, "the hub " + settings_.endpoint + " does not answer for " + id() + ": " +
                                            outcome.why + "; given up after " + std::to_string(attempt) +
                                            " tries. Is there a network (https_proxy, HF_ENDPOINT)?");
      }
      waiting_ = outcome.why;
      const auto until = Clock::now() + patience_.wait(attempt, outcome.wait_seconds);
      while (Clock::now() < until) {
        tick();
        std::this_thread::sleep_for(
            std::min<Clock::duration>(std::chrono::milliseconds(kStepMs), until - Clock::now()));
      }
      waiting_.clear();
    }
  }

  Outcome finish(Exchange& exchange) {
    exchanges_.start(exchange);
    try {
      while (true) {
        const auto ended = exchanges_.step(kStepMs);
        if (!ended.empty()) return ended.front().second;
        tick();
      }
    } catch (...) {
      exchanges_.stop(exchange);
      throw;
    }
  }

  /// Every file of the commit.
  std::vector<RemoteFile> list_files() {
    std::vector<RemoteFile> files;
    std::string url = api() + "/tree/" + commit_ + "?recursive=true";
    for (std::size_t page = 0; !url.empty(); ++page) {
      if (page == kMaxPages) {
        throw Error(ErrorCode::bad_file,
                    "the hub's listing of " + id() + " has more than " + std::to_string(kMaxPages) + " pages");
      }
      std::string link;
      parse_tree(get(url, &link), "of " + id(), files);
      url = next_page(link);
      // A mirror may name the hub it mirrors there; ours is the endpoint that was asked for, with its token.
      const std::size_t path = url.find("/api/models/");
      url = path == std::string::npos ? "" : settings_.endpoint + url.substr(path);
    }
    return files;
  }

  std::vector<RemoteFile> choose(const std::vector<RemoteFile>& files) {
    FileNames names;
    std::map<std::string, const RemoteFile*, std::less<>> by_name;
    for (const RemoteFile& file : files) {
      names.insert(file.path);
      if (!by_name.emplace(file.path, &file).second) {
        throw Error(ErrorCode::bad_file, "the hub's listing of " + id() + " names " + in_quotes(file.path) + " twice");
      }
    }
    progress_.variant = choose_variant(id(), names, options_.variant);
    const Selection selection = select_files(names, progress_.variant);
    if (!selection.missing.empty()) {
      throw Error(ErrorCode::not_found, id() + " lacks " + selection.missing +
                                            "; it is no whole checkpoint. Choose another revision or variant");
    }
    std::vector<RemoteFile> wanted;
    wanted.reserve(selection.files.size());
    for (const std::string& name : selection.files) wanted.push_back(*by_name.at(name));
    return wanted;
  }

  /// A transfer for each blob that is not in its place yet.
  void begin_transfers(const std::vector<RemoteFile>& wanted) {
    std::set<std::string> begun;
    for (const RemoteFile& file : wanted) {
      if (is_placed(file) || !begun.insert(file.hash).second) {
        placed_bytes_ += file.size;
        ++placed_files_;
        continue;
      }
      const std::string url =
          settings_.endpoint + "/" + id() + "/resolve/" + commit_ + "/" + percent_encoded(file.path, true);
      transfers_.emplace_back(repository_, file, url, settings_, patience_, disk_);
    }
  }

  /// Whether the bytes themselves stand in the snapshot, as on a disk without links.
  [[nodiscard]] bool is_placed(const RemoteFile& file) const {
    const fs::path place = repository_.snapshot(commit_) / file.path;
    std::error_code error;
    return fs::is_regular_file(fs::symlink_status(place, error)) && fs::file_size(place, error) == file.size && !error;
  }

  void check_space() const {
    std::uint64_t needed = 0;
    for (const Transfer& transfer : transfers_) needed += transfer.file().size - transfer.bytes_done();
    const std::uint64_t free = disk_.free_bytes(repository_.folder());
    if (needed <= free) return;
    throw Error(ErrorCode::bad_file, "the disk of " + repository_.folder().string() +
                                         " is too full: " + human_bytes(needed) + " are still to come, " +
                                         human_bytes(free) + " are free, " + human_bytes(needed - free) +
                                         " are missing. Make room, or choose another folder with HF_HUB_CACHE");
  }

  void receive() {
    std::map<Exchange*, Transfer*> running;
    while (true) {
      Clock::time_point next = Clock::now() + std::chrono::milliseconds(kStepMs);
      bool all_done = true;
      for (Transfer& transfer : transfers_) {
        const bool free = running.size() < static_cast<std::size_t>(options_.parallel);
        if (free && transfer.due(Clock::now())) {
          if (Exchange* exchange = transfer.begin([this] { tick(); })) {
            exchanges_.start(*exchange);
            running.emplace(exchange, &transfer);
          }
        }
        all_done = all_done && transfer.done();
        if (!transfer.done() && !transfer.running() && free) next = std::min(next, transfer.next());
      }
      if (all_done) return;
      const auto time = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
      for (const auto& [exchange, outcome] : exchanges_.step(std::max(1, static_cast<int>(time.count())))) {
        const auto found = running.find(exchange);
        Transfer& transfer = *found->second;
        running.erase(found);
        transfer.ended(outcome);
      }
      tick();
    }
  }

  /// Gives the blobs their names in the snapshot, and then the snapshot its revision.
  void place(const std::vector<RemoteFile>& wanted) {
    const bool links = links_ && repository_.can_link();
    std::map<std::string, int> uses;
    for (const RemoteFile& file : wanted) ++uses[file.hash];
    for (const RemoteFile& file : wanted) {
      const bool last = --uses[file.hash] == 0;
      if (is_placed(file)) continue;
      repository_.place(commit_, file.path, file.hash, links ? Placing::link : last ? Placing::move : Placing::copy);
    }
    repository_.note_revision(revision_, commit_);
  }

  [[nodiscard]] CachedModel model(const std::vector<RemoteFile>& wanted) const {
    CachedModel result;
    result.id = id();
    result.variant = progress_.variant;
    result.commit = commit_;
    result.revisions = repository_.revisions_of(commit_);
    result.path = repository_.snapshot(commit_);
    if (!result.variant.empty()) result.path /= result.variant;
    for (const RemoteFile& file : wanted) result.bytes += file.size;
    for (const Transfer& transfer : transfers_) result.downloaded_bytes += transfer.received();
    return result;
  }

  const DownloadOptions& options_;
  const Disk& disk_;
  bool links_;
  std::string revision_;
  CachedRepository repository_;
  HttpSettings settings_;
  Patience patience_;
  std::string commit_;
  Exchanges exchanges_;
  std::list<Transfer> transfers_;
  std::uint64_t placed_bytes_ = 0;  ///< of files without a transfer of their own
  std::size_t placed_files_ = 0;
  DownloadProgress progress_;
  std::string waiting_;
  Meter meter_;
  Clock::time_point next_report_{};
};

}  // namespace

bool can_download() noexcept { return true; }

CachedModel download_onto(const std::string& id, const DownloadOptions& options, const Disk& disk) {
  check_repository_id(id);
  if (!options.variant.empty()) check_variant(options.variant);
  if (!options.revision.empty()) check_revision(options.revision);
  Environment environment = read_environment(options);
  if (environment.offline) {
    if (auto model = find(id, options)) return *model;
    throw Error(ErrorCode::not_found, id + (options.variant.empty() ? "" : ":" + options.variant) +
                                          " is not in the cache " + environment.cache.string() +
                                          ", and downloads are off (offline, HF_HUB_OFFLINE)");
  }
  return Download(id, options, std::move(environment), disk).run();
}

CachedModel download(const std::string& id, const DownloadOptions& options) {
  return download_onto(id, options, Disk::system());
}

}  // namespace qwen35::hub
