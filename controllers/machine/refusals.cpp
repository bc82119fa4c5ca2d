#include "controllers/machine/refusals.hpp"

#include "apis/v1alpha1/names.hpp"

namespace endstate::machine {

using reconcile::Code, reconcile::Error;

namespace {

constexpr std::size_t max_words = 600;

bool says(const Error& error, std::string_view part) { return error.message.find(part) != std::string::npos; }

// Of admission, whatever code it chose: k8s.io/apiserver pkg/admission/plugin/webhook/errors/statuserror.go,
// .../policy/validating/plugin.go.
bool is_by_admission(const Error& error) {
  return says(error, "denied the request") || says(error, "failed calling webhook") || says(error, "denied request");
}

// k8s.io/kubernetes pkg/registry/core/pod/storage/eviction.go: "Cannot evict pod as it would violate the pod's disruption budget.", "This
// pod has more than one PodDisruptionBudget, which the eviction subresource does not support." (500, without a reason), and while one is
// being looked at: "The disruption budget ... is still being processed by the server."
bool is_by_budget(const Error& error) { return says(error, "disruption budget") || says(error, "PodDisruptionBudget"); }

}  // namespace

bool is_refusal(const Error& error) {
  switch (error.code) {
    case Code::invalid:
    case Code::forbidden:
    case Code::throttled: return true;
    // An answer of the API server (500: a webhook that can't be called) has a Status with a reason; a reply that was lost has
    // none.
    case Code::maybe_done:
    case Code::unavailable: return !error.reason.empty() || is_by_admission(error) || is_by_budget(error);
    case Code::conflict:
    case Code::exists:
    case Code::not_found:
    case Code::gone: return is_by_admission(error);
    case Code::fenced:
    case Code::cancelled: return false;
  }
  return false;
}

std::string_view eviction_word(const Error& error) {
  namespace reason = v1alpha1::reason;
  return is_by_budget(error) && !is_by_admission(error) ? reason::drain_blocked : reason::eviction_refused;
}

std::string words_of(const Error& error) {
  if (error.message.size() <= max_words) return error.message;
  std::size_t cut = max_words;
  while (cut > 0 && (static_cast<unsigned char>(error.message[cut]) & 0xC0) == 0x80) --cut;  // not within a character
  return error.message.substr(0, cut) + "...";
}

}  // namespace endstate::machine
