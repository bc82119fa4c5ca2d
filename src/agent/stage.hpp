// Gets a version ready beside what is in use: its artifact, and a generation of it. Nothing that anybody uses is touched.
#pragma once
#include "src/agent/fetcher.hpp"
#include "src/agent/target.hpp"

namespace endstate::agent {

Result<void> fetch_artifact(Host& host, const api::Artifact& artifact, const Sources& sources);
// `id`: of the generation. What an earlier try left is thrown away; it appears under its name when it is whole and stored.
Result<void> stage(Host& host, const TargetSlot& slot, const std::string& id, std::string_view arch);

}  // namespace endstate::agent
