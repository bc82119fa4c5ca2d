// Unpacks archives (tar, also compressed by gzip, xz, zstd or bzip2; zip) with libarchive, trusting nothing in them.
//
// Refused, with Code::invalid and reason ArtifactRejected, and the entry's name in the message: absolute paths and "..", entries below a
// link, devices, pipes and sockets, links that lead out of the folder, an entry that is there twice, what isn't an archive or is cut off,
// more than the limits say. Owners and set-user-id bits are not taken over. Names need no locale: they are bytes.
#pragma once
#include "src/agent/host.hpp"

namespace endstate::agent {

// `archive`: open for reading at its beginning, `packed` bytes; `folder`: open, ours alone. On an error the folder holds a part.
Result<std::vector<UnpackedEntry>> unpack_archive(int archive, std::uint64_t packed, int folder, const UnpackLimits& limits);

// The path of an entry as it may be used: without "./" and "/" at its end. nullopt: it must not be.
std::optional<std::string> safe_entry_path(std::string_view path);
// Whether a link at `path` (a safe one) with that target stays inside, whatever other links do.
bool safe_link_target(std::string_view path, std::string_view target);

}  // namespace endstate::agent
