// Trust in the account (GuardLedger): whether what was read can be what was written last. Pure.
//
//   LedgerMissing  it was not there, or empty, in a Cluster that isn't new
//   LedgerEdited   its digest doesn't match: somebody wrote into it by hand
//   LedgerOld      an old copy: its generation is lower than was seen, or a Machine is under way by a grant that it doesn't know, and began
//                  after it was written; or a host is at work by a grant that neither its Machine nor the ledger knows
//
// A ledger of a version that wrote neither time nor digest is judged by the rest.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "apis/v1alpha1/machine.hpp"
#include "apis/v1alpha1/policy.hpp"
#include "reconcile/cache/view.hpp"

namespace endstate::guard {

class Fleet;

struct Doubt {
  std::string_view reason;  // a constant of api::reason
  std::string message;
};

// The last thing before it is stored. Its time never goes back: a clock that does must not make a new account look old.
void seal(v1alpha1::GuardLedgerStatus& ledger, reconcile::WallTime now);

std::optional<Doubt> doubt_of(const v1alpha1::GuardLedgerStatus& ledger, const Fleet& fleet);

}  // namespace endstate::guard
