// The objects of a host's enrolment, and the writes that make and unmake them. Pure text.
#pragma once
#include <string>
#include <string_view>

#include "controllers/enrolment/plan.hpp"

namespace endstate::enrolment {

using reconcile::Action;

// ---- beside the Host, owned by it ----
// The role by which a host of `identity` reads its Host; number 0: and its hand-over, which is beside it then.
Action host_role(const api::Host& host, std::int64_t identity, std::uint8_t stage);
Action host_binding(const api::Host& host, std::int64_t identity, std::uint8_t stage);
// Copies for people and for agents of before, made from what is in endstate-system and never read again.
Action copy_token(const api::Host& host, const reconcile::Secret& from, std::uint8_t stage);
Action copy_hand_over(const api::Host& host, const reconcile::Secret& from, std::uint8_t stage);
Action remove_copy(const api::Host& host, const std::string& name, std::uint8_t stage);

// ---- in endstate-system, with the Host's key as an annotation: a Host can own nothing in another namespace ----
Action system_role(const api::Host& host, std::int64_t identity, std::uint8_t stage);  // reads its hand-over, nothing else
Action system_binding(const api::Host& host, std::int64_t identity, std::uint8_t stage);
Action enrolment_secret(const api::Host& host, std::string_view wish, WallTime now, std::uint8_t stage);
Action hand_over(const Input& in, std::int64_t identity, std::string_view enrolled, WallTime now, std::uint8_t stage);
Action annotate(const reconcile::Secret& secret, std::string_view key, std::string_view value, std::uint8_t stage, std::string why);
Action mark_published(const reconcile::Secret& secret, std::uint8_t stage);
Action remove_object(const reconcile::Kind& kind, const reconcile::ObjectMeta& meta, std::uint8_t stage, std::string why);
inline Action remove_secret(const reconcile::Secret& secret, std::uint8_t stage, std::string why) {
  return remove_object(reconcile::kind_of<reconcile::Secret>, secret.metadata, stage, std::move(why));
}

// ---- in the business cluster, owned by the HostAssignment ----
// `put`: whatever is there is made right (server-side apply); else it is made when there is none, which asks for fewer rights.
Action business_role(const Input& in, std::int64_t identity, bool put, std::uint8_t stage);  // reads its HostAssignment, nothing else
Action business_binding(const Input& in, std::int64_t identity, bool put, std::uint8_t stage);
// Whether it is there, for that identity, and goes with that owner (empty: with nobody).
bool is_right(const reconcile::ObjectMeta* there, std::int64_t identity, std::string_view owner_uid);

// ---- one-time tokens, in kube-system of the cluster that is to know them ----
// `from`: the Secret that holds the token. `owner`: null in the meta cluster, where a namespaced owner can't have it.
Action publish_token(const api::Host& host, const reconcile::Secret& from, std::string connection, const api::HostAssignment* owner,
                     std::uint8_t stage);
Action withdraw_token(const reconcile::Secret& from, std::string connection, std::uint8_t stage);

// ---- requests ----
Action decide(const Request& request, bool approve, std::string_view reason, std::string_view message);

// What stands in the annotations of one of the two Secrets. Both are in endstate-system: what stands beside a Host is never believed.
std::string token_user(const reconcile::Secret* secret);  // as an API server knows it; empty: no secret, or no token
std::optional<WallTime> token_end(const reconcile::Secret& secret);
std::optional<WallTime> token_used(const reconcile::Secret& secret);
bool is_published(const reconcile::Secret& secret);
std::int64_t number_of(const reconcile::ObjectMeta& meta);  // of the identity that it is for; 0: none

}  // namespace endstate::enrolment
