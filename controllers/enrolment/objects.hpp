// The objects of a host's enrolment, and the writes that make and unmake them. Pure text.
#pragma once
#include <string>
#include <string_view>

#include "controllers/enrolment/plan.hpp"

namespace endstate::enrolment {

using reconcile::Action;

// ---- in the meta cluster, owned by the Host ----
Action meta_role(const api::Host& host, std::uint8_t stage);  // reads its Host and its hand-over, nothing else
Action meta_binding(const api::Host& host, std::uint8_t stage);
Action enrolment_secret(const api::Host& host, std::string_view wish, WallTime now, std::uint8_t stage);
Action hand_over(const Input& in, std::string_view enrolled, WallTime now, std::uint8_t stage);
Action annotate(const reconcile::Secret& secret, std::string_view key, std::string_view value, std::uint8_t stage, std::string why);
Action mark_published(const reconcile::Secret& secret, std::uint8_t stage);
Action remove_secret(const reconcile::Secret& secret, std::uint8_t stage, std::string why);

// ---- in the business cluster, owned by the HostAssignment ----
Action business_role(const Input& in, std::uint8_t stage);  // reads its HostAssignment, nothing else
Action business_binding(const Input& in, std::uint8_t stage);

// ---- one-time tokens, in kube-system of the cluster that is to know them ----
// `from`: the Secret that holds the token. `owner`: null in the meta cluster, where a namespaced owner can't have it.
Action publish_token(const api::Host& host, const reconcile::Secret& from, std::string connection, const api::HostAssignment* owner,
                     std::uint8_t stage);
Action withdraw_token(const reconcile::Secret& from, std::string connection, std::uint8_t stage);

// ---- requests ----
Action decide(const Request& request, bool approve, std::string_view reason, std::string_view message);

// What stands in the annotations of one of the two Secrets.
std::string token_user(const reconcile::Secret* secret);  // as an API server knows it; empty: no secret, or no token
std::optional<WallTime> token_end(const reconcile::Secret& secret);
std::optional<WallTime> token_used(const reconcile::Secret& secret);
bool is_published(const reconcile::Secret& secret);

}  // namespace endstate::enrolment
