// Guard: the one arbiter that every disruptive action asks before it is done. The runtime knows only this interface; the rules
// (budgets, windows, the ledger) are a program's (endstate: controllers/guard/).
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "reconcile/kube/meta.hpp"

namespace reconcile {

// A wish to disturb one subject. The id made of (subject uid, operation, revision, attempt) is deterministic: asking again for what
// was granted returns the same grant and costs nothing, so a restarted operator never pays twice.
struct PermitRequest {
  Key cluster{};     // the Cluster object whose budgets count
  Text operation{};  // one of the program's operation names, e.g. "MachineUpdate"
  Key subject{};     // the machine, for people
  Text subject_uid{};
  Text revision{};  // what it moves to; empty where there is none
  std::int64_t attempt = 0;
  Text domain{};        // failure domain; empty: none known
  Text component{};     // of a control plane: which part; empty: the subject is a machine, or all of it
  bool forced = false;  // a person's word that it must be done unseen (endstate.dev/force-delete)
  // What will stand as the time when it began: limits over time count it there, however long the guard takes. Zero: when it is granted.
  WallTime begins{};
  std::chrono::seconds lasts{3600};  // an unreturned grant ends after this
  std::string id() const;            // 16 hex digits
};

struct Granted {
  std::string id;
};
// Why not, and who said so; shown as status.blockedBy.
struct Refused {
  Text kind{}, name{};    // e.g. "ChangeBudget", "default"
  Text reason{};          // CamelCase: WindowFull, MaxUnavailable, MaxConcurrent, LedgerMissing, ...
  std::string message{};  // for people
  std::chrono::milliseconds retry_after{5'000};
};
using Verdict = std::variant<Granted, Refused>;

class Guard {
 public:
  virtual ~Guard() = default;
  // Decides all, stores what it grants, then answers (one verdict per request, same order), on the Env's thread, never from inside
  // the call. An error means that nothing was granted. A question for each permit is no waste: the guard gathers them.
  virtual void ask(std::vector<PermitRequest> requests, std::function<void(Result<std::vector<Verdict>>)> answer) = 0;
};

}  // namespace reconcile
