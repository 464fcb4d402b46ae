#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <mutex>
#include <utility>

#include "hub/names.h"

namespace qwen35::hub {
namespace {

constexpr std::size_t kMaxHeader = 8192;         // of one line that is kept
constexpr std::size_t kMaxErrorBody = 64 << 10;  // what an error may say besides

void initialize_curl() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
      throw Error(ErrorCode::internal, "libcurl could not be initialised");
    }
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ') text.remove_prefix(1);
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

bool is_success(long status) { return status == 200 || status == 206; }

bool says_try_again(long status) { return status == 408 || status == 425 || status == 429 || status >= 500; }

}  // namespace

struct Exchange::Impl {
  Exchange* owner = nullptr;
  CURL* handle = nullptr;
  curl_slist* headers = nullptr;
  OnBody on_body;
  Answer answer;
  std::exception_ptr failure;
  std::size_t error_bytes = 0;
  bool has_token = false;
  std::array<char, CURL_ERROR_SIZE> message{};

  ~Impl() {
    curl_easy_cleanup(handle);
    curl_slist_free_all(headers);
  }

  void read_header(std::string_view line) {
    if (line.starts_with("HTTP/")) {  // of a redirect, of what follows it, or of a proxy: the last one counts
      std::string linked = std::move(answer.linked_etag);
      answer = {};
      answer.linked_etag = std::move(linked);
      return;
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || line.size() > kMaxHeader) return;
    const std::string name = lower(line.substr(0, colon));
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (name == "content-type") answer.content_type = lower(value);
    if (name == "content-range") answer.content_range = lower(value);
    if (name == "etag") answer.etag = value;
    if (name == "x-linked-etag") answer.linked_etag = value;
    if (name == "link") answer.link = value;
    if (name == "x-error-code") answer.error_code = value;
  }

  /// Fills in what is known once the body begins.
  void complete_answer() {
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_off_t length = -1;
    curl_easy_getinfo(handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    answer.content_length = length;
  }

  bool take(std::span<const std::byte> bytes) {
    complete_answer();
    if (!is_success(answer.status)) {
      error_bytes += bytes.size();
      return error_bytes <= kMaxErrorBody;
    }
    try {
      return on_body(answer, bytes);
    } catch (...) {  // must not pass through the C code between
      failure = std::current_exception();
      return false;
    }
  }

  static std::size_t header_callback(char* data, std::size_t size, std::size_t count, void* self) {
    static_cast<Impl*>(self)->read_header(std::string_view(data, size * count));
    return size * count;
  }

  static std::size_t body_callback(char* data, std::size_t size, std::size_t count, void* self) {
    const auto bytes = std::as_bytes(std::span(data, size * count));
    return static_cast<Impl*>(self)->take(bytes) ? bytes.size() : 0;
  }
};

Exchange::Exchange(const HttpSettings& settings, const std::string& url, const std::vector<std::string>& headers,
                   OnBody on_body)
    : impl_(std::make_unique<Impl>()) {
  initialize_curl();
  if (!url.starts_with(settings.endpoint + "/")) {
    throw Error(ErrorCode::internal, "an address outside the hub's endpoint: " + in_quotes(url));
  }
  impl_->owner = this;
  impl_->on_body = std::move(on_body);
  impl_->handle = curl_easy_init();
  if (impl_->handle == nullptr) throw Error(ErrorCode::internal, "libcurl could not begin a request");
  CURL* const handle = impl_->handle;
  const auto add_header = [this](const std::string& line) {
    curl_slist* longer = curl_slist_append(impl_->headers, line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    impl_->headers = longer;
  };
  for (const std::string& line : headers) add_header(line);
  add_header("Accept-Encoding: identity");  // hashes and ranges are of the file's own bytes
  if (!settings.token.empty()) {
    // libcurl leaves this line out when a redirect leads to another host, port or scheme.
    add_header("Authorization: Bearer " + settings.token);
    impl_->has_token = true;
  }
  const bool secure = settings.endpoint.starts_with("https://");
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, 8L);
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, impl_->headers);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "qwen35");
  curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // a proxy's
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, static_cast<long>(settings.stall_seconds));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1024L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(settings.stall_seconds));
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, impl_->message.data());
  curl_easy_setopt(handle, CURLOPT_PRIVATE, impl_.get());
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &Impl::header_callback);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, impl_.get());
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Impl::body_callback);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, impl_.get());
}

Exchange::~Exchange() = default;

const Answer& Exchange::answer() const { return impl_->answer; }
std::exception_ptr Exchange::failure() const { return impl_->failure; }

namespace {

/// What a status other than success means.
Outcome judge_status(const Exchange::Impl& exchange) {
  using Verdict = Outcome::Verdict;
  const Answer& answer = exchange.answer;
  const std::string status = std::to_string(answer.status);
  if (says_try_again(answer.status)) {
    curl_off_t wait = 0;
    curl_easy_getinfo(exchange.handle, CURLINFO_RETRY_AFTER, &wait);
    const std::string asked = wait > 0 ? " and asks to wait " + std::to_string(wait) + " s" : "";
    return {Verdict::try_again, ErrorCode::network, "the hub answers " + status + asked, static_cast<double>(wait),
            false};
  }
  const std::string token =
      exchange.has_token ? "the token that was sent does not open it" : "if it is private, give a token with HF_TOKEN";
  if (answer.error_code == "GatedRepo" || answer.status == 403) {
    return {Verdict::give_up, ErrorCode::not_found,
            "the hub refuses it (" + status +
                "): its terms must be accepted on its page first, and a token be given "
                "with HF_TOKEN",
            0, false};
  }
  if (answer.error_code == "RevisionNotFound") {
    return {Verdict::give_up, ErrorCode::not_found, "the hub has no such revision of it", 0, false};
  }
  if (answer.status == 401 || answer.status == 404 || answer.status == 410) {
    return {Verdict::give_up, ErrorCode::not_found,
            "the hub has no such thing (" + status + "); check the spelling, and " + token, 0, false};
  }
  return {Verdict::give_up, ErrorCode::network, "the hub answers " + status, 0, false};
}

Outcome judge(const Exchange::Impl& exchange, CURLcode code) {
  using Verdict = Outcome::Verdict;
  const std::string detail = exchange.message[0] != '\0' ? exchange.message.data() : curl_easy_strerror(code);
  const std::string why = in_quotes(detail);
  switch (code) {
    case CURLE_OK:
      break;
    case CURLE_WRITE_ERROR:  // the body was refused, by us or with a failure()
      break;
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return {Verdict::give_up, ErrorCode::network, "a redirect that is not followed: " + why, 0, false};
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_OUT_OF_MEMORY:
      return {Verdict::give_up, ErrorCode::network, why, 0, false};
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return {Verdict::try_again, ErrorCode::network, why, 0, true};
    default:
      return {Verdict::try_again, ErrorCode::network, why, 0, false};
  }
  if (!is_success(exchange.answer.status)) return judge_status(exchange);
  return {};
}

}  // namespace

struct Exchanges::Impl {
  CURLM* multi = nullptr;
  ~Impl() { curl_multi_cleanup(multi); }
};

Exchanges::Exchanges() : impl_(std::make_unique<Impl>()) {
  initialize_curl();
  impl_->multi = curl_multi_init();
  if (impl_->multi == nullptr) throw Error(ErrorCode::internal, "libcurl could not begin");
}

Exchanges::~Exchanges() = default;

void Exchanges::start(Exchange& exchange) {
  if (curl_multi_add_handle(impl_->multi, exchange.impl().handle) != CURLM_OK) {
    throw Error(ErrorCode::internal, "libcurl could not take a request");
  }
}

void Exchanges::stop(Exchange& exchange) noexcept { curl_multi_remove_handle(impl_->multi, exchange.impl().handle); }

std::vector<std::pair<Exchange*, Outcome>> Exchanges::step(int timeout_ms) {
  int running = 0;
  curl_multi_perform(impl_->multi, &running);
  std::vector<std::pair<Exchange*, Outcome>> ended;
  int waiting = 0;
  while (const CURLMsg* message = curl_multi_info_read(impl_->multi, &waiting)) {
    if (message->msg != CURLMSG_DONE) continue;
    Exchange::Impl* exchange = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
    const CURLcode code = message->data.result;
    exchange->complete_answer();
    curl_multi_remove_handle(impl_->multi, exchange->handle);  // `message` goes with it
    ended.emplace_back(exchange->owner, judge(*exchange, code));
  }
  if (ended.empty()) curl_multi_poll(impl_->multi, nullptr, 0, timeout_ms, nullptr);
  return ended;
}

}  // namespace qwen35::hub
