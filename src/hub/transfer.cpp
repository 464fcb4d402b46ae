#include "hub/transfer.h"

#include <qwen35/error.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "hub/names.h"

namespace qwen35::hub {
namespace {

namespace fs = std::filesystem;

constexpr auto kLockPoll = std::chrono::milliseconds(100);
constexpr int kMaxRestarts = 2;

bool has_size(const fs::path& path, std::uint64_t size) {
  std::error_code error;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == size && !error;
}

/// The hash in an ETag, "" if it holds none: "<hash>", W/"<hash>".
std::string hash_in(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return is_hex(etag, 64) || is_hex(etag, 40) ? std::string(etag) : "";
}

}  // namespace

std::chrono::milliseconds Patience::wait(int attempt, double asked_seconds) const {
  constexpr double kLongest = 30000;
  constexpr double kLongestAsked = 300000;
  static thread_local std::minstd_rand random(std::random_device{}());
  const double doubled = std::min(kLongest, backoff_ms * std::pow(2.0, std::clamp(attempt, 1, 20) - 1));
  const double jitter = std::uniform_real_distribution<double>(0.75, 1.0)(random);
  const double asked = std::clamp(asked_seconds * 1000, 0.0, kLongestAsked);
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::max(doubled * jitter, asked)));
}

Transfer::Transfer(const CachedRepository& repository, RemoteFile file, std::string url, const HttpSettings& settings,
                   const Patience& patience, const Disk& disk)
    : repository_(repository),
      file_(std::move(file)),
      url_(std::move(url)),
      settings_(settings),
      patience_(patience),
      disk_(disk),
      done_(has_size(repository.blob(file_.hash), file_.size)) {}

std::uint64_t Transfer::bytes_done() const {
  if (done_) return file_.size;
  if (partial_) return partial_->size();
  std::error_code error;  // what an earlier run left, or another process has
  const std::uintmax_t size = fs::file_size(repository_.incomplete(file_.hash), error);
  return error ? 0 : std::min<std::uint64_t>(size, file_.size);
}

Exchange* Transfer::begin(const std::function<void()>& tick) {
  remark_.clear();
  if (!lock_) {
    lock_ = FileLock::try_lock(repository_.lock(file_.hash));
    if (!lock_) {
      pause(kLockPoll, "another process is receiving " + file_.path);
      return nullptr;
    }
    if (has_size(repository_.blob(file_.hash), file_.size)) {  // by whoever had the lock
      complete();
      return nullptr;
    }
    std::error_code error;
    fs::create_directories(repository_.blob("x").parent_path(), error);
    if (error) fail_with("cannot make the folder", repository_.blob("x").parent_path(), error.value());
  }
  if (!partial_) {
    partial_.emplace(file_, repository_.incomplete(file_.hash), disk_, tick);
    most_ = partial_->size();
  }
  if (partial_->size() == file_.size) {
    complete();
    return nullptr;
  }
  start_ = partial_->size();
  checked_ = false;
  mismatch_.clear();
  std::vector<std::string> headers;
  if (start_ > 0) {
    headers.push_back("Range: bytes=" + std::to_string(start_) + "-");
    // A file that changed meanwhile then comes from its beginning.
    if (!etag_.empty()) headers.push_back("If-Range: " + etag_);
  }
  exchange_ = std::make_unique<Exchange>(
      settings_, url_, headers,
      [this](const Answer& answer, std::span<const std::byte> bytes) { return take(answer, bytes); });
  return exchange_.get();
}

std::string Transfer::problem_with(const Answer& answer) const {
  if (const std::string hash = hash_in(answer.linked_etag); hash.size() == file_.hash.size() && hash != file_.hash) {
    return "the hub now has other bytes under that name";
  }
  const std::uint64_t from = answer.status == 206 ? start_ : 0;
  if (answer.status == 206) {
    unsigned long long first = 0;
    unsigned long long last = 0;
    unsigned long long whole = file_.size;
    const int read = std::sscanf(answer.content_range.c_str(), "bytes %llu-%llu/%llu", &first, &last, &whole);
    if (read < 2 || first != start_) return "the server sends another part than it was asked for";
    if (whole != file_.size) {
      return "the server's file has " + std::to_string(whole) + " bytes, not the " + std::to_string(file_.size) +
             " of the listing";
    }
  }
  const auto expected = static_cast<std::int64_t>(file_.size - from);
  if (answer.content_length >= 0 && answer.content_length != expected && answer.status == 200) {
    return "the server's file has " + std::to_string(answer.content_length) + " bytes, not the " +
           std::to_string(expected) + " of the listing";
  }
  return {};
}

bool Transfer::take(const Answer& answer, std::span<const std::byte> bytes) {
  if (!checked_) {
    checked_ = true;
    if (answer.content_type.starts_with("text/html")) {
      throw Error(ErrorCode::network,
                  "instead of " + in_quotes(file_.path) + " a web page came from " + settings_.endpoint +
                      "; something between (a proxy, a network that wants a login) answers for the hub");
    }
    mismatch_ = problem_with(answer);
    if (!mismatch_.empty()) return false;
    if (answer.status == 200 && start_ > 0) partial_->restart();  // no ranges here, or the file has changed
    etag_ = answer.etag.starts_with("\"") ? answer.etag : "";
  }
  received_ += bytes.size();
  if (bytes.size() > file_.size - partial_->size()) {
    mismatch_ = "the server sends more than the " + std::to_string(file_.size) + " bytes of the listing";
    return false;
  }
  partial_->append(bytes);
  return true;
}

void Transfer::ended(const Outcome& outcome) {
  const std::exception_ptr failure = exchange_->failure();
  const long status = exchange_->answer().status;
  exchange_.reset();
  if (failure) std::rethrow_exception(failure);
  if (!mismatch_.empty()) return begin_anew(mismatch_);
  if (status == 416) return begin_anew("the server has less of it than came already");
  if (outcome.verdict == Outcome::Verdict::give_up) {
    throw Error(outcome.code, repository_.id() + ", file " + in_quotes(file_.path) + ": " + outcome.why);
  }
  if (partial_->size() == file_.size) return complete();
  if (partial_->size() > most_) {
    most_ = partial_->size();
    attempts_ = 0;
  }
  const std::string why = outcome.why.empty() ? "the connection ended before the file did" : outcome.why;
  if (++attempts_ > patience_.retries) {
    throw Error(ErrorCode::network, repository_.id() + ", file " + in_quotes(file_.path) + ": " + why +
                                        "; given up after " + std::to_string(attempts_) + " tries at " +
                                        human_bytes(partial_->size()) + " of " + human_bytes(file_.size) +
                                        ". The next run goes on from there");
  }
  pause(patience_.wait(attempts_, outcome.wait_seconds), why);
}

void Transfer::complete() {
  if (partial_) {
    if (const std::string problem = partial_->check(); !problem.empty()) return begin_anew(problem);
    partial_->finish(repository_.blob(file_.hash));
    partial_.reset();
  }
  lock_.reset();
  done_ = true;
}

void Transfer::begin_anew(const std::string& why) {
  partial_->restart();
  etag_.clear();
  most_ = 0;
  if (++restarts_ > kMaxRestarts) {
    unlink(repository_.incomplete(file_.hash).c_str());
    throw Error(ErrorCode::bad_file, repository_.id() + ", file " + in_quotes(file_.path) + ": " + why + ", and so " +
                                         std::to_string(restarts_) +
                                         " times. The file changed just now, or something between alters it; try again "
                                         "later or from another network");
  }
  pause(patience_.wait(restarts_, 0), file_.path + " begins anew: " + why);
}

void Transfer::pause(std::chrono::milliseconds time, const std::string& remark) {
  next_ = Clock::now() + time;
  remark_ = remark;
}

}  // namespace qwen35::hub
