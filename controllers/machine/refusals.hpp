// What the API server says no to, told from what only went wrong on the way: a refusal stands at the Machine in the API server's words,
// everything else is tried again without a word.
#pragma once
#include <string>
#include <string_view>

#include "reconcile/run/loop.hpp"

namespace endstate::machine {

// The API server, or who it asks (admission webhooks and policies, a quota, a PodDisruptionBudget), said no. Not: it was not reached, our
// view was old, the reply was lost.
bool is_refusal(const reconcile::Error& error);

// Why a pod stays: reason::drain_blocked where budgets for pods say no, which heals when their pods are well; reason::eviction_refused
// for any other cause, which a person must mend.
std::string_view eviction_word(const reconcile::Error& error);

// The API server's words, in one line of at most 600 bytes.
std::string words_of(const reconcile::Error& error);

}  // namespace endstate::machine
