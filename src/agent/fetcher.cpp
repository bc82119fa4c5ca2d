#include "src/agent/fetcher.hpp"

#include <curl/curl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>

#include "src/agent/reasons.hpp"
#include "src/agent/tree.hpp"

namespace endstate::agent {
namespace {

using Curl = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

Error unavailable(std::string message) { return {Code::unavailable, std::move(message), {}, std::string(reason::artifact_unavailable)}; }
Error rejected(std::string message) { return {Code::invalid, std::move(message), {}, std::string(reason::artifact_rejected)}; }

struct Sink {
  int fd = -1;
  CURL* curl = nullptr;
  std::uint64_t resumed = 0, size = 0, limit = 0;
  bool started = false, too_big = false;
  int error = 0;
  const std::atomic<bool>* cancelled = nullptr;
};

// A server that doesn't know ranges sends all of it again.
bool begin(Sink& sink) {
  sink.started = true;
  long status = 0;
  curl_easy_getinfo(sink.curl, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 400) return false;                // what it says is no part of the artifact
  if (status == 206 || status == 0) return true;  // 0: a file
  sink.size = 0;
  return ::ftruncate(sink.fd, 0) == 0 && ::lseek(sink.fd, 0, SEEK_SET) == 0;
}

std::size_t on_bytes(char* bytes, std::size_t, std::size_t n, void* self) {
  auto& sink = *static_cast<Sink*>(self);
  if (!sink.started && !begin(sink)) return 0;
  if (sink.size + n > sink.limit) {
    sink.too_big = true;
    return 0;
  }
  if (auto written = write_all(sink.fd, {bytes, n}, ""); !written) {
    sink.error = errno;
    return 0;
  }
  sink.size += n;
  return n;
}

int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return static_cast<Sink*>(self)->cancelled->load() ? 1 : 0; }

Curl easy(const std::string& url) {
  Curl curl(curl_easy_init(), curl_easy_cleanup);
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https,file");
  curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "endstate-agent");
  curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "localhost,127.0.0.0/8,::1");
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, 10'000L);
  return curl;
}

Result<void> from_one(const std::string& url, const Fetch& what, const Fd& file, std::uint64_t have, const std::atomic<bool>& cancelled) {
  auto curl = easy(url);
  if (::lseek(file.get(), static_cast<off_t>(have), SEEK_SET) < 0) return fail(file_error(errno, "write", "an artifact"));
  // A name and a password go to the host that they are for (libcurl looks for it in the file), and never over an open line.
  if (!what.netrc.empty() && url.starts_with("https://")) {
    curl_easy_setopt(curl.get(), CURLOPT_NETRC, static_cast<long>(CURL_NETRC_OPTIONAL));
    curl_easy_setopt(curl.get(), CURLOPT_NETRC_FILE, what.netrc.c_str());
  }
  if (!what.ca.empty()) curl_easy_setopt(curl.get(), CURLOPT_CAINFO, what.ca.c_str());
  Sink sink{.fd = file.get(),
            .curl = curl.get(),
            .resumed = have,
            .size = have,
            .limit = what.size != 0 ? what.size : what.max_bytes,
            .cancelled = &cancelled};
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &sink);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &sink);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_LIMIT, 1024L);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_TIME, 30L);
  // A Range header, not libcurl's resume: that fails at its end where a server doesn't know ranges, which begin() is ready for.
  if (have > 0) curl_easy_setopt(curl.get(), CURLOPT_RANGE, (std::to_string(have) + "-").c_str());
  const auto code = curl_easy_perform(curl.get());
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (cancelled) return fail(Code::cancelled, "the agent stops");
  if (sink.error != 0) return fail(file_error(sink.error, "store", "an artifact"));
  if (sink.too_big) return fail(rejected(url + " has more than " + std::to_string(sink.limit) + " bytes"));
  if (status >= 400) return fail(unavailable(url + " answers " + std::to_string(status)));
  if (status >= 300) return fail(unavailable(url + " answers " + std::to_string(status) + ": redirects are not followed"));
  if (code != CURLE_OK) return fail(unavailable(url + ": " + curl_easy_strerror(code)));
  return {};
}

// Empty: they are the bytes that are meant.
Result<void> check(const Fetch& what, const Fd& file, const std::string& url) {
  struct stat s {};
  if (::fstat(file.get(), &s) != 0 || ::lseek(file.get(), 0, SEEK_SET) != 0) return fail(file_error(errno, "read", "an artifact"));
  const auto size = static_cast<std::uint64_t>(s.st_size);
  if (what.size != 0 && size != what.size)
    return fail(rejected(url + " has " + std::to_string(size) + " bytes, not the " + std::to_string(what.size) + " that the package says"));
  auto digest = sha256_of(file.get(), "an artifact");
  if (!digest) return fail(digest.error());
  if (*digest != what.sha256)
    return fail(rejected("checksum mismatch: " + url + " has the SHA-256 " + *digest + ", the package says " + what.sha256));
  return {};
}

}  // namespace

Result<void> fetch_into(const Fetch& what, const std::string& part, const std::atomic<bool>& cancelled) {
  const Fd file(::open(part.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail(file_error(errno, "write", part));
  Error last = unavailable("the package names no address");
  bool refused = false;
  for (const auto& url : what.urls) {
    auto have = ::lseek(file.get(), 0, SEEK_END);
    if (have < 0) return fail(file_error(errno, "read", part));
    // What is there may be all of it already: a server answers 416 to a range that begins at its end.
    for (int tries = 0; tries < 2; ++tries) {
      auto got =
          have > 0 && check(what, file, part) ? Result<void>() : from_one(url, what, file, static_cast<std::uint64_t>(have), cancelled);
      if (got) got = check(what, file, url);
      if (got) return {};
      const auto& e = got.error();
      if (e.code == Code::cancelled || e.reason == reason::disk_full) return fail(e);
      const bool other_bytes = e.reason == reason::artifact_rejected;
      if (!refused || other_bytes) last = e;
      refused = refused || other_bytes;
      if (!other_bytes && !(have > 0 && e.message.find("answers 416") != std::string::npos)) break;
      // Half of it may be of another artifact (a mirror's): once more from nothing, before this place is given up.
      if (::ftruncate(file.get(), 0) != 0 || ::lseek(file.get(), 0, SEEK_SET) != 0) return fail(file_error(errno, "write", part));
      if (have == 0) break;
      have = 0;
    }
  }
  return fail(last);
}

Result<int> http_status_of(const std::string& url, std::chrono::milliseconds timeout, const std::atomic<bool>& cancelled) {
  auto curl = easy(url);
  Sink sink{.cancelled = &cancelled};
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &sink);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  // A probe asks whether something on this very host answers; its certificate, often signed by itself, says nothing more about that.
  curl_easy_setopt(curl.get(), CURLOPT_SSL_VERIFYPEER, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_SSL_VERIFYHOST, 0L);
  std::uint64_t seen = 0;
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &seen);
  curl_easy_setopt(
      curl.get(), CURLOPT_WRITEFUNCTION, +[](char*, std::size_t, std::size_t n, void* total) -> std::size_t {
        auto& sum = *static_cast<std::uint64_t*>(total);
        sum += n;
        return sum > (1U << 20U) ? 0 : n;
      });
  const auto code = curl_easy_perform(curl.get());
  if (cancelled) return fail(Code::cancelled, "the agent stops");
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status == 0) return fail(unavailable(url + ": " + curl_easy_strerror(code)));
  return static_cast<int>(status);
}

}  // namespace endstate::agent
