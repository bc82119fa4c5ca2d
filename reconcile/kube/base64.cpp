#include "reconcile/kube/base64.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "reconcile/kube/openssl.hpp"

namespace reconcile {
namespace {

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// OpenSSL's queue of errors belongs to the thread: libcurl's own calls must not find what failed here.
std::nullopt_t nothing() {
  ERR_clear_error();
  return std::nullopt;
}

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // and the NUL that OpenSSL puts behind
  const int size = EVP_EncodeBlock(bytes_of(out), bytes_of(bytes), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0 || text.empty()) return std::nullopt;
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(bytes_of(out), bytes_of(text), static_cast<int>(text.size()));
  if (size < 0) return nothing();
  // EVP_DecodeBlock counts the padding as bytes.
  out.resize(static_cast<std::size_t>(size) - (text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0));
  return out;
}

std::optional<std::string> from_base64_lines(std::string_view text) {
  const std::unique_ptr<EVP_ENCODE_CTX, FreeBy<EVP_ENCODE_CTX_free>> context(EVP_ENCODE_CTX_new());
  EVP_DecodeInit(context.get());
  std::string out(text.size() + 64, '\0');
  int size = 0, rest = 0;
  if (EVP_DecodeUpdate(context.get(), bytes_of(out), &size, bytes_of(text), static_cast<int>(text.size())) < 0 ||
      EVP_DecodeFinal(context.get(), bytes_of(out) + size, &rest) < 0)
    return nothing();
  out.resize(static_cast<std::size_t>(size) + static_cast<std::size_t>(rest));
  return out;
}

}  // namespace reconcile
