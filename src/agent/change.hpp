// The phase Change of an attempt: files, links and kernel parameters of a slot become those of another generation, or none.
//
// The moment at which the new version takes effect is the rename of current/SLOT: whoever dies before it leaves the old one whole, after it
// the new one. Links of the new version are made before it and lead nowhere until then; those of the old one go after it.
#pragma once
#include <functional>

#include "src/agent/seen.hpp"

namespace endstate::agent {

// `save` stores the record before something is done that only the record can undo. `seen`: of now.
Result<void> change_over(Host& host, SlotRecord& record, const Seen& seen, const std::function<Result<void>()>& save);

}  // namespace endstate::agent
