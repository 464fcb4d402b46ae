#include "hub/digest.h"

#include <openssl/evp.h>
#include <qwen35/error.h>

#include <array>

namespace qwen35::hub {
namespace {

void check(int done) {
  if (done != 1) throw Error(ErrorCode::internal, "OpenSSL could not compute a hash");
}

}  // namespace

Digest::Digest(const std::string& expected, std::uint64_t size)
    : git_(expected.size() == 40), size_(size), context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  if (context_ == nullptr) throw Error(ErrorCode::internal, "OpenSSL could not begin a hash");
  restart();
}

Digest::~Digest() = default;

void Digest::restart() {
  check(EVP_DigestInit_ex(context_.get(), git_ ? EVP_sha1() : EVP_sha256(), nullptr));
  if (!git_) return;
  const std::string header = "blob " + std::to_string(size_);
  check(EVP_DigestUpdate(context_.get(), header.c_str(), header.size() + 1));  // its final NUL belongs to it
}

void Digest::add(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

std::string Digest::finish() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  check(EVP_DigestFinal_ex(context_.get(), hash.data(), &size));
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[hash[i] >> 4U];
    text += kDigits[hash[i] & 15U];
  }
  return text;
}

}  // namespace qwen35::hub
