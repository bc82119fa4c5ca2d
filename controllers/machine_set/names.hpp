// Deterministic names: a write that is repeated because its reply was lost meets its own result, never makes a second one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "apis/v1alpha1/machine_set.hpp"

namespace endstate::machine_set {

// "<set>-<5 characters>" of the set's uid and an ordinal. Ordinals are tried from 0 and those in use are skipped, so a cache that has
// not seen the last creations yet proposes the very same names again.
std::string machine_name(std::string_view set_name, std::string_view set_uid, std::uint64_t ordinal);

// Most ordinals that are tried for a free name: with 100,000 machines of 14 million names, a free one is near.
inline constexpr std::uint64_t max_ordinals = 1'000'000;

std::string revision_name(std::string_view set_name, std::string_view hash);

// What a revision is made of: the template's labels and spec, and its annotations. Optionals that are absent are not encoded, so a new
// version of endstate that knows more fields makes the same text of the same template.
std::string canonical_template(const v1alpha1::MachineTemplate& t);

// The same as it is stored in a ControllerRevision: as Go's encoding/json writes that value (keys sorted, no spaces; <, >, &, U+2028 and
// U+2029 escaped). The data is immutable byte for byte, and any strategic merge patch of the object has the API server decode and write it
// anew: the garbage collector takes an owner off by one (--cascade=orphan), and must leave the data as it was.
// Two revisions are the same when their canonical texts are; that they were stored in another order by an older version is no difference.
std::string stored_template(const v1alpha1::MachineTemplate& t);

}  // namespace endstate::machine_set
