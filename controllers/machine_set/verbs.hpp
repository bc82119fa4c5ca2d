// What people ask for by one-shot annotations on the set: promote, reject, retry. Each is taken off once it is stored in the status, or
// once it can't mean anything any more; an annotation that is met again after a crash does nothing twice. A text that was carried out is
// kept in status.handled and not carried out again: what stands in Git is put back with every sync.
#pragma once
#include <string_view>

#include "controllers/machine_set/course.hpp"

namespace endstate::machine_set {

struct Request {
  std::string_view revision, step;  // step may be empty
};
Request parse_request(std::string_view value);  // "<revision>[/<step>][@<anything>]": what follows the @ makes a new word of the same

enum class Ask : std::uint8_t { nothing, reject };
// Applies retry and promote to the course, and says whether the update revision is to be rejected.
Ask apply_verbs(const Snapshot& s, const Revisions& revisions, const std::vector<Step>& steps, Course& course);

}  // namespace endstate::machine_set
