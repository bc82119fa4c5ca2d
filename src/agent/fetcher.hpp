// Gets artifacts with libcurl: into a file, going on where an earlier try stopped, checked against their SHA-256. Blocking.
//
// Redirects are not followed and the environment's proxies are used (never for loopback). A server that sends nothing for 30 s, or less
// than 1 KiB/s, is given up. Errors: ArtifactUnavailable (try again later), ArtifactRejected (other bytes than those that are meant: what
// came is thrown away), DiskFull.
#pragma once
#include <atomic>

#include "src/agent/host.hpp"

namespace endstate::agent {

// `part`: the file as this process opens it; on success it holds the bytes that are meant.
Result<void> fetch_into(const Fetch& what, const std::string& part, const std::atomic<bool>& cancelled);
// The status of a GET; Code::unavailable: no answer in time.
Result<int> http_status_of(const std::string& url, std::chrono::milliseconds timeout, const std::atomic<bool>& cancelled);

// Which places an artifact may come from. A prefix covers what is below it: "https://a.example/x" is "https://a.example/x/" here.
struct Sources {
  std::vector<std::string> allowed{};                          // empty: none is
  std::vector<std::pair<std::string, std::string>> mirrors{};  // prefix -> what stands in its place, tried first, in this order
  std::string netrc{}, ca{};                                   // Fetch has what they are
};
// The addresses to try for `url`: its mirrors, then itself. Empty with an error if a place isn't allowed. Pure.
Result<std::vector<std::string>> addresses_of(const std::string& url, const Sources& sources);

// Whether a netrc(5) may be used: for root's eyes only, and each name and password with the host that it is for: a "default" or a "macdef"
// would go to anybody.
Result<void> check_netrc(const std::string& file);

}  // namespace endstate::agent
