#include "hub/environment.h"

#include <qwen35/error.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "hub/names.h"

namespace qwen35::hub {
namespace {

namespace fs = std::filesystem;

/// The variable's value; "" when it is not set.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_true(const char* name) {
  std::string value = variable(name);
  std::transform(value.begin(), value.end(), value.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

fs::path with_home(const std::string& path) {
  if (path != "~" && !path.starts_with("~/")) return path;
  return fs::path(variable("HOME")) / (path.size() > 2 ? path.substr(2) : "");
}

fs::path home_folder() {
  if (const std::string home = variable("HF_HOME"); !home.empty()) return with_home(home);
  if (const std::string caches = variable("XDG_CACHE_HOME"); !caches.empty()) return with_home(caches) / "huggingface";
  if (const std::string home = variable("HOME"); !home.empty()) return fs::path(home) / ".cache" / "huggingface";
  throw Error(ErrorCode::invalid_argument,
              "there is no folder for the cache of models: neither HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME nor HOME is "
              "set; set one of them");
}

fs::path cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {  // the second: its older name
    if (const std::string cache = variable(name); !cache.empty()) return with_home(cache);
  }
  return home_folder() / "hub";
}

std::string trimmed(std::string text) {
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  text.erase(std::find_if_not(text.rbegin(), text.rend(), is_space).base(), text.end());
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_space));
  return text;
}

std::string find_token() {
  if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return {};
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const std::string token = trimmed(variable(name)); !token.empty()) return token;
  }
  fs::path file = with_home(variable("HF_TOKEN_PATH"));
  if (file.empty()) {
    if (variable("HF_HOME").empty() && variable("XDG_CACHE_HOME").empty() && variable("HOME").empty()) return {};
    file = home_folder() / "token";
  }
  std::string token(4096, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(token.data(), static_cast<std::streamsize>(token.size()));
  token.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return trimmed(token);
}

std::string checked_endpoint(std::string endpoint) {
  while (!endpoint.empty() && endpoint.back() == '/') endpoint.pop_back();
  const std::size_t scheme = endpoint.find("://");
  const bool http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
  const bool plain = endpoint.find_first_of(" \t\r\n?#") == std::string::npos;
  if (http && plain && scheme + 3 < endpoint.size()) return endpoint;
  throw Error(ErrorCode::invalid_argument, "the hub's endpoint is " + in_quotes(endpoint) +
                                               "; expected an address such as https://huggingface.co (HF_ENDPOINT)");
}

void check_range(const char* what, int value, int low, int high) {
  if (value >= low && value <= high) return;
  throw Error(ErrorCode::invalid_argument, std::string(what) + " is " + std::to_string(value) + "; expected " +
                                               std::to_string(low) + " to " + std::to_string(high));
}

}  // namespace

Environment read_environment(const DownloadOptions& options) {
  check_range("DownloadOptions::parallel", options.parallel, 1, 16);
  check_range("DownloadOptions::retries", options.retries, 0, 100);
  check_range("DownloadOptions::backoff_ms", options.backoff_ms, 0, 60000);
  check_range("DownloadOptions::stall_seconds", options.stall_seconds, 0, 3600);
  Environment result;
  std::string endpoint = options.endpoint.empty() ? variable("HF_ENDPOINT") : options.endpoint;
  if (endpoint.empty()) endpoint = "https://huggingface.co";
  result.endpoint = checked_endpoint(std::move(endpoint));
  result.token = options.token.empty() ? find_token() : options.token;
  if (std::any_of(result.token.begin(), result.token.end(), [](unsigned char c) { return c <= 0x20 || c >= 0x7F; })) {
    throw Error(ErrorCode::invalid_argument,
                "the hub's token holds a blank or a control character; expected one word such as hf_... (HF_TOKEN)");
  }
  result.cache = options.cache.empty() ? cache_folder() : options.cache;
  result.offline = options.offline || is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
  result.links = !is_true("HF_HUB_DISABLE_SYMLINKS");
  result.stall_seconds = options.stall_seconds;
  if (result.stall_seconds == 0) {
    const std::string seconds = variable("HF_HUB_DOWNLOAD_TIMEOUT");
    int value = 0;
    const auto [end, error] = std::from_chars(seconds.data(), seconds.data() + seconds.size(), value);
    const bool whole = error == std::errc() && end == seconds.data() + seconds.size();
    result.stall_seconds = whole && value > 0 ? std::min(value, 3600) : 10;
  }
  return result;
}

}  // namespace qwen35::hub
