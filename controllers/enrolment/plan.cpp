#include "controllers/enrolment/plan.hpp"

#include <algorithm>
#include <functional>

#include "apis/v1alpha1/enrolment.hpp"
#include "apis/v1alpha1/names.hpp"
#include "controllers/enrolment/objects.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::enrolment {

namespace names = api::enrolment;
using reconcile::Action, reconcile::Condition, reconcile::ConditionStatus, reconcile::kind_of, reconcile::Verb;

namespace {

constexpr std::chrono::milliseconds isolation_age = std::chrono::seconds(60);
constexpr std::string_view approval_word = "EndstateApproved";  // of the request, which is not an object of ours

class Planner {
 public:
  explicit Planner(const Input& in) : in_(in), host_(*in.host), now_(std::chrono::floor<std::chrono::seconds>(in.now.wall)) {
    conditions_ = host_.status.conditions;
    phase_ = host_.status.phase;
    identity_ = host_.status.identity.value_or(0);
  }

  reconcile::Plan make() {
    if (host_.metadata.deleting()) return {};  // what is its own goes with it, by its owner references
    ask_for_isolation();
    requests();
    token();
    hand_over();
    meta_roles();
    business_roles();
    write_status();
    return std::move(out_);
  }

 private:
  void act(Action a) { out_.actions.push_back(std::move(a)); }
  void again(std::chrono::nanoseconds wait) {
    const auto ms = std::max(std::chrono::ceil<std::chrono::milliseconds>(wait), std::chrono::milliseconds(1000));
    if (!out_.again || ms < *out_.again) out_.again = ms;
  }
  void tell(bool warning, std::string_view reason, std::string_view action, const std::string& note) {
    out_.events.push_back(
        {.warning = warning, .reason = reason, .action = action, .note = std::string_view(note).substr(0, 1024), .regarding = {}});
  }
  void condition(std::string_view type, ConditionStatus status, std::string_view reason, std::string message) {
    reconcile::set_condition(conditions_,
                             {.type = type,
                              .status = status,
                              .reason = reason,
                              .message = Text(message),
                              .last_transition_time = {},
                              .observed_generation = {}},  // a claim moves the generation, and says nothing about this
                             now_);
  }
  bool valid(const reconcile::Secret* secret) const {
    const auto end = secret ? token_end(*secret) : std::nullopt;
    return end && now_ < *end;
  }

  // ---- requests ----

  // Asked while no agent of this host has been let in there: one that has is not thrown out when the policy goes (the cluster is looked at
  // by kubectl endstate doctor).
  void ask_for_isolation() {
    if (!in_.assignment || has_reported()) return;
    out_.queries.push_back({.id = std::string(isolation_query),
                            .cluster = in_.connection,
                            .resource = &reconcile::resource_of<reconcile::AdmissionPolicyBinding>,
                            .name = std::string(names::isolation),
                            .max_age = isolation_age});
    if (in_.isolation != Isolation::there) again(isolation_age);
  }
  std::string not_isolated() const {
    if (has_reported()) return {};
    const std::string policy = "ValidatingAdmissionPolicyBinding " + std::string(names::isolation);
    switch (in_.isolation) {
      case Isolation::there: return {};
      case Isolation::unknown: return "whether the cluster has " + policy + " isn't known yet";
      case Isolation::missing:
        return "cluster " + in_.cluster + " has no " + policy + ", which keeps agents apart: apply manifests/policies/agents.yaml there";
      case Isolation::unreadable: break;
    }
    return "cluster " + in_.cluster + " doesn't say whether it has " + policy + " (" + in_.isolation_trouble +
           "): give endstate the rule on it of manifests/rbac/operator.yaml";
  }

  // Why nobody gets a certificate for its Node now. The Node's own annotations say nothing here: a kubelet may write them.
  std::string node_trouble() const {
    if (!in_.seen) return "cluster " + in_.cluster + " can't be seen now";
    if (!(in_.host_ref == host_.metadata.uid)) return "its Machine's status doesn't name this Host yet";
    const std::string node = "Node " + in_.assignment->spec.node_name.str();
    if (in_.name_shared) return node + " is another host's too: two active HostAssignments have that name";
    if (in_.node && !(in_.node->metadata.uid == in_.node_ref) && !(in_.node->metadata.uid == in_.adopted))
      return node + " is there, and is not known to be this Machine's: " +
             (in_.node_ref.empty() ? "it is once the Machine is in service, else delete the Node"
                                   : "its uid is not that of status.nodeRef");
    return {};
  }
  std::string address_trouble() const {
    return in_.address_owner.empty()
               ? std::string()
               : host_.spec.address.str() + " is " + in_.address_owner + ", and so not Host " + host_.metadata.name.str() + "'s";
  }

  HostFacts facts_in(const std::string& connection) const {
    HostFacts f{.uid = host_.metadata.uid.str(), .name = host_.metadata.name.str(), .address = host_.spec.address.str()};
    f.identity = identity_;
    f.meta = connection.empty();
    if (f.meta && valid(in_.token.get())) {
      f.enrolment_token = token_user(in_.token.get());
      f.enrolment = number_of(in_.token->metadata);
    }
    const bool here = in_.assignment && connection == in_.connection;
    f.assigned = here;
    if (!here) return f;
    f.not_isolated = not_isolated();
    if (valid(in_.hand_over.get())) f.hand_over_token = token_user(in_.hand_over.get());
    if (in_.assignment->spec.state != api::AssignmentState::active) return f;
    f.node_name = in_.assignment->spec.node_name.str();
    f.node_trouble = node_trouble();
    f.address_trouble = address_trouble();
    return f;
  }

  // A token is good for one key: whose request is the first that is approved has it.
  bool is_taken(const Request& request) const {
    return std::any_of(in_.requests.begin(), in_.requests.end(), [&](const Request& other) {
      return other.connection == request.connection && !(other.object->metadata.uid == request.object->metadata.uid) &&
             other.object->spec.username == request.object->spec.username &&
             (is_approved(*other.object) || std::find(approved_.begin(), approved_.end(), other.object->metadata.uid) != approved_.end());
    });
  }

  void requests() {
    for (const auto& r : in_.requests) {
      if (!is_pending(*r.object)) continue;
      if (!r.facts) {
        refuse(r, r.trouble);
        continue;
      }
      const auto j = judge(*r.object, *r.facts, facts_in(r.connection));
      if (j.verdict == Verdict::deny) refuse(r, j.message);
      if (j.verdict != Verdict::approve) continue;
      if (j.by_token && is_taken(r)) {
        refuse(r, "its one-time token was used for another key: enrol the host again (kubectl endstate enrol " + host_.metadata.name.str() +
                      ")");
        continue;
      }
      approved_.push_back(r.object->metadata.uid);
      act(decide(r, true, approval_word, j.message));
    }
  }
  void refuse(const Request& r, const std::string& why) {
    act(decide(r, false, api::reason::certificate_refused, why));
    tell(true, api::reason::certificate_refused, "Enrol",
         "CertificateSigningRequest " + r.object->metadata.name.str() + " is denied: " + why);
  }

  // Whether the token of that Secret has become a certificate. Whoever asked with it must still fetch that with it, and may be slow or dead
  // for a while: so it is taken away some time later. Meanwhile it is good for nothing else, as another key is refused.
  // `first`: called when this is found out, with that request.
  bool is_used(const reconcile::Secret* secret, const std::string& connection, const std::function<void(const Request&)>& first = {}) {
    const auto user = token_user(secret);
    if (user.empty()) return false;
    if (token_used(*secret)) return true;
    const auto request = std::find_if(in_.requests.begin(), in_.requests.end(), [&](const Request& r) {
      return r.connection == connection && is_issued(*r.object) && r.object->spec.username == user;
    });
    if (request == in_.requests.end()) return false;
    if (first) first(*request);
    act(annotate(*secret, names::used_at, reconcile::format_rfc3339(now_), 1, "its token has become a certificate"));
    return true;
  }
  // Its time is over; else it is looked at again then.
  bool is_spent(const reconcile::Secret& secret) {
    const auto end = token_used(secret).value_or(now_) + names::used_token_life;
    if (now_ < end) again(end - now_);
    return now_ >= end;
  }

  // ---- the token for the meta cluster ----

  // The condition Enrolled is about the certificate that there is; a token that is open beside it is another matter (TokenOpen).
  bool has_enrolled() const { return reconcile::is_true(conditions_, api::condition::enrolled); }
  void token_condition(std::string_view reason, const std::string& message) {
    if (has_enrolled())
      condition(api::condition::token_open, ConditionStatus::true_, reason, message);
    else
      condition(api::condition::enrolled, ConditionStatus::false_, reason, message);
  }
  void drop_condition(std::string_view type) {
    std::erase_if(conditions_, [&](const Condition& c) { return c.type == type; });
  }

  void token() {
    const auto wish = host_.metadata.annotations.get(names::wanted);
    const auto* secret = in_.token.get();
    const bool used = secret && is_used(secret, {}, [&](const Request& r) { enrolled_by(r); });
    if (!wish.empty()) return open(std::string(wish), secret);
    if (!secret) return no_token();
    const auto end = token_end(*secret).value_or(now_);
    if (used) {
      drop_condition(api::condition::token_open);
      if (is_spent(*secret)) close("the host has enrolled");
    } else if (now_ >= end) {
      over("its token was not used in time");
      close("the token is over");
    } else {
      token_condition(api::reason::enrolment_open, "waits for endstate-agent --enrol on the host, until " + reconcile::format_rfc3339(end));
      again(end - now_);
    }
  }
  // Its token is gone (an older version of endstate had made it, or somebody took it away): nobody waits for it any more.
  void no_token() {
    const auto* c = reconcile::find_condition(conditions_, api::condition::enrolled);
    if (c && c->reason == api::reason::enrolment_open) over("its token is gone");
    drop_condition(api::condition::token_open);
  }
  void over(const std::string& why) {
    const std::string message = why + ": kubectl endstate enrol " + host_.metadata.name.str() + " makes another";
    if (has_enrolled()) {
      drop_condition(api::condition::token_open);
      tell(true, api::reason::enrolment_expired, "Enrol", message + "; the certificate that the host has is good as before");
    } else {
      condition(api::condition::enrolled, ConditionStatus::false_, api::reason::enrolment_expired, message);
    }
  }
  // From now on its certificates are of that number, and older ones have no rights. lastTransitionTime is when it was, also of a second
  // time.
  void enrolled_by(const Request& r) {
    std::int64_t number = 0;
    if (r.facts)
      for (const auto& o : r.facts->organizations) number = std::max(number, names::identity_in(o, host_.metadata.uid).value_or(0));
    if (number > 0 && identity_ == 0) act(remove_copy(host_, names::hand_over_secret(host_.metadata.uid), 1));  // never looked at again
    identity_ = std::max(identity_, number);
    drop_condition(api::condition::enrolled);
    condition(api::condition::enrolled, ConditionStatus::true_, api::reason::enrolled, "");
    // A person has set it up: from now on it can be claimed. Another phase than the first is somebody's word.
    if (phase_ == api::HostPhase::registered) phase_ = api::HostPhase::ready;
    tell(false, api::reason::enrolled, "Enrol", "the host has its certificate");
    if (identity_ > 0) return;
    act(host_role(host_, 0, 1));  // an agent of before: what it is handed lies beside its Host
    act(host_binding(host_, 0, 2));
  }
  void close(std::string why) {
    act(withdraw_token(*in_.token, {}, 1));
    act(remove_copy(host_, names::token_secret(host_.metadata.uid), 1));
    act(remove_secret(*in_.token, 2, std::move(why)));
  }
  void open(const std::string& wish, const reconcile::Secret* secret) {
    if (secret && secret->metadata.annotations.get(names::wanted) != wish) return close("another token is wanted");
    if (!secret) return act(enrolment_secret(host_, wish, now_, 1));
    act(publish_token(host_, *secret, {}, nullptr, 0));
    if (!is_published(*secret)) {
      act(remove_copy(host_, names::token_secret(host_.metadata.uid), 0));
      act(copy_token(host_, *secret, 1));
      act(mark_published(*secret, 2));
    }
    Action done{.verb = Verb::merge_patch,
                .kind = &kind_of<api::Host>,
                .cluster = {},
                .name_space = host_.metadata.name_space,
                .name = host_.metadata.name};
    done.body = R"({"metadata":{"annotations":{)" + reconcile::quote(names::wanted) + ":null}}}";
    done.uid = host_.metadata.uid;
    done.resource_version = host_.metadata.resource_version;
    done.stage = 3;
    done.why = "the token is there";
    act(std::move(done));
  }

  // ---- the hand-over ----

  // As it is stored: what is handed over refers to it. Empty: it hasn't.
  std::string enrolled_since() const {
    const auto* c = reconcile::find_condition(host_.status.conditions, api::condition::enrolled);
    return c && c->status == ConditionStatus::true_ ? reconcile::format_rfc3339(c->last_transition_time) : std::string();
  }
  bool matches(const reconcile::Secret& secret) const {
    const auto& notes = secret.metadata.annotations;
    return notes.get(names::claimed_by) == in_.machine_uid.view() && notes.get(names::cluster) == in_.cluster &&
           notes.get(names::enrolled) == enrolled_since() && number_of(secret.metadata) == identity_;
  }
  bool has_reported() const { return in_.assignment && in_.assignment->status.agent.has_value(); }
  bool has_condition(std::string_view type) const { return reconcile::find_condition(conditions_, type) != nullptr; }
  // An agent of before looks beside its Host, where a copy is made for it.
  bool needs_copy() const { return identity_ == 0; }
  void take_back(const reconcile::Secret* secret, std::string why) {
    if (needs_copy()) act(remove_copy(host_, names::hand_over_secret(host_.metadata.uid), 1));
    if (secret) act(remove_secret(*secret, 2, std::move(why)));
  }

  void hand_over() {
    const auto* secret = in_.hand_over.get();
    if (in_.unseen) return;
    if (in_.machine_uid.empty() || !in_.assignment || enrolled_since().empty()) {
      if (secret || (in_.machine_uid.empty() && has_condition(api::condition::joined))) take_back(secret, "the host is free");
      if (in_.machine_uid.empty()) drop_condition(api::condition::joined);
      return;
    }
    if (!secret) {
      // Handed over by a version that kept it beside the Host: who was let in needs it no more.
      if (needs_copy() && has_reported()) return show_joined(true);
      makes_hand_over_ = true;
      return act(enrolment::hand_over(in_, identity_, enrolled_since(), now_, 1));
    }
    const bool own = in_.kubeconfig_secret.empty();
    if (!matches(*secret)) {
      const bool here =
          secret->metadata.annotations.get(names::cluster) == in_.cluster;  // elsewhere it ends with its assignment, or its time
      if (here && !own && valid(secret) && is_published(*secret)) act(withdraw_token(*secret, in_.connection, 1));
      return take_back(secret, "it is of another claim");
    }
    const bool issued = own ? has_certificate() : is_used(secret, in_.connection);
    if (issued && !own) {
      if (is_spent(*secret) && is_published(*secret)) {
        act(withdraw_token(*secret, in_.connection, 1));
        act(annotate(*secret, names::published, "withdrawn", 2, "its token has had its time"));
      }
    } else if (!own && !valid(secret)) {
      // Never used: another. An agent that is known there already has what it needs.
      if (!has_reported()) take_back(secret, "its token is over, and was not used");
    } else {
      if (!is_published(*secret)) publish(*secret, own);
      if (!own) again(*token_end(*secret) - now_);
    }
    show_joined(issued);
  }
  void publish(const reconcile::Secret& secret, bool own) {
    if (!own) act(publish_token(host_, secret, in_.connection, in_.assignment.get(), 0));
    if (needs_copy()) {
      act(remove_copy(host_, names::hand_over_secret(host_.metadata.uid), 0));
      act(copy_hand_over(host_, secret, 1));
    }
    act(mark_published(secret, 2));
  }
  bool has_certificate() const {
    return std::any_of(in_.requests.begin(), in_.requests.end(), [&](const Request& r) {
      return r.connection == in_.connection && is_issued(*r.object) && r.facts &&
             std::find(r.facts->organizations.begin(), r.facts->organizations.end(), names::agents_group) != r.facts->organizations.end();
    });
  }
  void show_joined(bool issued) {
    if (issued || has_reported())
      condition(api::condition::joined, ConditionStatus::true_, api::reason::joined, "cluster " + in_.cluster);
    else if (const auto why = not_isolated(); !why.empty() && in_.isolation != Isolation::unknown)
      condition(api::condition::joined, ConditionStatus::false_, api::reason::agents_not_isolated, why);
    else
      condition(api::condition::joined, ConditionStatus::false_, api::reason::handed_over,
                "cluster " + in_.cluster + " is handed over; its agent has no certificate of it yet");
  }

  // ---- what it may read ----
  // Looked at in each pass: the garbage collector may be late with those of an earlier claim, and people delete things. Last of all, so
  // that a cluster that refuses them holds up nothing else.

  void meta_roles() {
    if (!in_.sees_meta_roles || !has_enrolled() || identity_ == 0)
      return;  // without a number it has those that stand beside its Host since it enrolled
    if (is_right(in_.role ? &in_.role->metadata : nullptr, identity_, {}) &&
        is_right(in_.binding ? &in_.binding->metadata : nullptr, identity_, {}))
      return;
    act(host_role(host_, identity_, 3));
    act(system_role(host_, identity_, 3));
    act(host_binding(host_, identity_, 4));    // the API server looks into the role: it must be there
    act(system_binding(host_, identity_, 5));  // what the next pass looks at comes last
  }
  void business_roles() {
    if (in_.unseen || !in_.assignment || in_.machine_uid.empty() || enrolled_since().empty()) return;
    const auto& owner = in_.assignment->metadata.uid;
    if (!in_.sees_roles) {  // it may not look there: made when the cluster is handed over, as what it is allowed to do
      if (!makes_hand_over_) return;
      act(business_role(in_, identity_, false, 0));
      act(business_binding(in_, identity_, false, 1));
      return;
    }
    if (!is_right(in_.cluster_role ? &in_.cluster_role->metadata : nullptr, identity_, owner)) act(business_role(in_, identity_, true, 3));
    if (!is_right(in_.cluster_binding ? &in_.cluster_binding->metadata : nullptr, identity_, owner))
      act(business_binding(in_, identity_, true, 4));
  }

  // ---- status ----

  void write_status() {
    const bool raised = identity_ != host_.status.identity.value_or(0);
    if (conditions_ == host_.status.conditions && phase_ == host_.status.phase && !raised) return;
    Action a{.verb = Verb::merge_patch,
             .kind = &kind_of<api::Host>,
             .cluster = {},
             .name_space = host_.metadata.name_space,
             .name = host_.metadata.name,
             .subresource = "status"};
    a.body = R"({"status":{"phase":)" + reconcile::quote(reconcile::name_of(phase_)) + R"(,"conditions":)" +
             reconcile::encode(conditions_) + (raised ? ",\"identity\":" + std::to_string(identity_) : "") + "}}";
    a.uid = host_.metadata.uid;
    a.resource_version = host_.metadata.resource_version;
    a.why = "say how far its enrolment is";
    out_.actions.insert(out_.actions.begin(), std::move(a));
  }

  const Input& in_;
  const api::Host& host_;
  const WallTime now_;
  std::vector<Condition> conditions_;
  api::HostPhase phase_{};
  std::int64_t identity_ = 0;
  bool makes_hand_over_ = false;
  std::vector<Text> approved_;  // in this pass
  reconcile::Plan out_;
};

}  // namespace

bool is_managed(const api::Host& host) {
  return host.metadata.annotations.has(names::wanted) || reconcile::find_condition(host.status.conditions, api::condition::enrolled);
}

reconcile::Plan plan(const Input& in) { return Planner(in).make(); }

reconcile::Plan plan_remains(const Remains& remains) {
  reconcile::Plan out;
  const std::string why = "its Host is gone";
  for (const auto& s : remains.secrets) {
    if (!token_user(s.get()).empty() && s->metadata.annotations.has(names::wanted)) out.actions.push_back(withdraw_token(*s, {}, 0));
    out.actions.push_back(remove_secret(*s, 1, why));
  }
  for (const auto& r : remains.bindings) out.actions.push_back(remove_object(kind_of<reconcile::RoleBinding>, r->metadata, 0, why));
  for (const auto& r : remains.roles) out.actions.push_back(remove_object(kind_of<reconcile::Role>, r->metadata, 1, why));
  return out;
}

std::string token_id(std::string_view host_uid, std::string_view purpose, WallTime when) {
  const auto text = std::string(host_uid).append("\n").append(purpose).append("\n") + std::to_string(when.time_since_epoch().count());
  std::uint64_t h = 14695981039346656037ULL;  // FNV-1a, 64 bits: 36^6 of them are kept
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  h ^= h >> 33;
  std::string id;
  for (int i = 0; i < 6; ++i, h /= 36) id += "abcdefghijklmnopqrstuvwxyz0123456789"[h % 36];
  return id;
}

}  // namespace endstate::enrolment
