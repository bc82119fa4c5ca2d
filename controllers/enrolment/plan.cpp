#include "controllers/enrolment/plan.hpp"

#include <algorithm>

#include "apis/v1alpha1/enrolment.hpp"
#include "apis/v1alpha1/names.hpp"
#include "controllers/enrolment/objects.hpp"
#include "reconcile/json/encode.hpp"

namespace endstate::enrolment {

namespace names = api::enrolment;
using reconcile::Action, reconcile::Condition, reconcile::ConditionStatus, reconcile::kind_of, reconcile::Verb;

namespace {

constexpr std::string_view approval_word = "EndstateApproved";  // of the request, which is not an object of ours

class Planner {
 public:
  explicit Planner(const Input& in) : in_(in), host_(*in.host), now_(std::chrono::floor<std::chrono::seconds>(in.now.wall)) {
    conditions_ = host_.status.conditions;
    phase_ = host_.status.phase;
  }

  reconcile::Plan make() {
    if (host_.metadata.deleting()) return {};  // what is its own goes with it, by its owner references
    requests();
    token();
    hand_over();
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

  HostFacts facts_in(const std::string& connection) const {
    HostFacts f{.uid = host_.metadata.uid.str(), .name = host_.metadata.name.str(), .address = host_.spec.address.str()};
    f.meta = connection.empty();
    if (f.meta && valid(in_.token.get())) f.enrolment_token = token_user(in_.token.get());
    const bool here = in_.assignment && connection == in_.connection;
    f.assigned = here;
    if (here && in_.assignment->spec.state == api::AssignmentState::active) f.node_name = in_.assignment->spec.node_name.str();
    if (here && valid(in_.hand_over.get())) f.hand_over_token = token_user(in_.hand_over.get());
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
  bool is_used(const reconcile::Secret* secret, const std::string& connection) {
    const auto user = token_user(secret);
    if (user.empty()) return false;
    if (token_used(*secret)) return true;
    const bool used = std::any_of(in_.requests.begin(), in_.requests.end(), [&](const Request& r) {
      return r.connection == connection && is_issued(*r.object) && r.object->spec.username == user;
    });
    if (used) act(annotate(*secret, names::used_at, reconcile::format_rfc3339(now_), 1, "its token has become a certificate"));
    return used;
  }
  // Its time is over; else it is looked at again then.
  bool is_spent(const reconcile::Secret& secret) {
    const auto end = token_used(secret).value_or(now_) + names::used_token_life;
    if (now_ < end) again(end - now_);
    return now_ >= end;
  }

  // ---- the token for the meta cluster ----

  void token() {
    const auto wish = host_.metadata.annotations.get(names::wanted);
    const auto* secret = in_.token.get();
    if (!wish.empty()) return open(std::string(wish), secret);
    if (!secret) return;
    const auto end = token_end(*secret).value_or(now_);
    if (is_used(secret, {})) {
      condition(api::condition::enrolled, ConditionStatus::true_, api::reason::enrolled, "");
      // A person has set it up: from now on it can be claimed. Another phase than the first is somebody's word.
      if (phase_ == api::HostPhase::registered) phase_ = api::HostPhase::ready;
      if (!reconcile::is_true(host_.status.conditions, api::condition::enrolled))
        tell(false, api::reason::enrolled, "Enrol", "the host has its certificate");
      if (is_spent(*secret)) close("the host has enrolled");
    } else if (now_ >= end) {
      condition(api::condition::enrolled, ConditionStatus::false_, api::reason::enrolment_expired,
                "its token was not used in time: kubectl endstate enrol " + host_.metadata.name.str() + " makes another");
      close("the token is over");
    } else {
      condition(api::condition::enrolled, ConditionStatus::false_, api::reason::enrolment_open,
                "waits for endstate-agent --enrol on the host, until " + reconcile::format_rfc3339(end));
      again(end - now_);
    }
  }
  void close(std::string why) {
    act(withdraw_token(*in_.token, {}, 1));
    act(remove_secret(*in_.token, 2, std::move(why)));
  }
  void open(const std::string& wish, const reconcile::Secret* secret) {
    if (secret && secret->metadata.annotations.get(names::wanted) != wish) {
      act(withdraw_token(*secret, {}, 1));
      act(remove_secret(*secret, 2, "another token is wanted"));
      return;
    }
    if (!secret) {
      act(meta_role(host_, 0));
      act(meta_binding(host_, 0));
      act(enrolment_secret(host_, wish, now_, 1));
      return;
    }
    act(publish_token(host_, *secret, {}, nullptr, 0));
    if (!is_published(*secret)) act(mark_published(*secret, 1));
    Action done{.verb = Verb::merge_patch,
                .kind = &kind_of<api::Host>,
                .cluster = {},
                .name_space = host_.metadata.name_space,
                .name = host_.metadata.name};
    done.body = R"({"metadata":{"annotations":{)" + reconcile::quote(names::wanted) + ":null}}}";
    done.uid = host_.metadata.uid;
    done.resource_version = host_.metadata.resource_version;
    done.stage = 2;
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
           notes.get(names::enrolled) == enrolled_since();
  }
  bool has_reported() const { return in_.assignment && in_.assignment->status.agent.has_value(); }

  void hand_over() {
    const auto* secret = in_.hand_over.get();
    if (in_.unseen) return;
    if (in_.machine_uid.empty() || !in_.assignment || enrolled_since().empty()) {
      if (secret) act(remove_secret(*secret, 1, "the host is free"));
      if (in_.machine_uid.empty()) std::erase_if(conditions_, [](const Condition& c) { return c.type == api::condition::joined; });
      return;
    }
    if (!secret) return make_hand_over();
    const bool own = in_.kubeconfig_secret.empty();
    if (!matches(*secret)) {
      const bool here =
          secret->metadata.annotations.get(names::cluster) == in_.cluster;  // elsewhere it ends with its assignment, or its time
      if (here && valid(secret) && is_published(*secret)) act(withdraw_token(*secret, in_.connection, 1));
      act(remove_secret(*secret, 2, "it is of another claim"));
      return;
    }
    const bool issued = own ? has_certificate() : is_used(secret, in_.connection);
    if (own) return show_joined(issued);
    if (issued) {
      if (is_spent(*secret) && is_published(*secret)) {
        act(withdraw_token(*secret, in_.connection, 1));
        act(annotate(*secret, names::published, "withdrawn", 2, "its token has had its time"));
      }
    } else if (!valid(secret)) {
      // Never used: another. An agent that is known there already has what it needs.
      if (!has_reported()) act(remove_secret(*secret, 2, "its token is over, and was not used"));
    } else {
      if (!is_published(*secret)) {
        act(publish_token(host_, *secret, in_.connection, in_.assignment.get(), 0));
        act(mark_published(*secret, 1));
      }
      again(*token_end(*secret) - now_);
    }
    show_joined(issued);
  }
  bool has_certificate() const {
    return std::any_of(in_.requests.begin(), in_.requests.end(), [&](const Request& r) {
      return r.connection == in_.connection && is_issued(*r.object) && r.facts && r.facts->organizations.size() == 1 &&
             r.facts->organizations[0] == names::agents_group;
    });
  }
  void make_hand_over() {
    act(business_role(in_, 0));
    act(business_binding(in_, 0));
    act(enrolment::hand_over(in_, enrolled_since(), now_, 1));
  }
  void show_joined(bool issued) {
    if (issued || has_reported())
      condition(api::condition::joined, ConditionStatus::true_, api::reason::joined, "cluster " + in_.cluster);
    else
      condition(api::condition::joined, ConditionStatus::false_, api::reason::handed_over,
                "cluster " + in_.cluster + " is handed over; its agent has no certificate of it yet");
  }

  // ---- status ----

  void write_status() {
    if (conditions_ == host_.status.conditions && phase_ == host_.status.phase) return;
    Action a{.verb = Verb::merge_patch,
             .kind = &kind_of<api::Host>,
             .cluster = {},
             .name_space = host_.metadata.name_space,
             .name = host_.metadata.name,
             .subresource = "status"};
    a.body = R"({"status":{"phase":)" + reconcile::quote(reconcile::name_of(phase_)) + R"(,"conditions":)" +
             reconcile::encode(conditions_) + "}}";
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
  std::vector<Text> approved_;  // in this pass
  reconcile::Plan out_;
};

}  // namespace

bool is_managed(const api::Host& host) {
  return host.metadata.annotations.has(names::wanted) || reconcile::find_condition(host.status.conditions, api::condition::enrolled);
}

reconcile::Plan plan(const Input& in) { return Planner(in).make(); }

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
