#include "src/agent/enrolment.hpp"

#include <charconv>

#include "apis/v1alpha1/enrolment.hpp"
#include "apis/v1alpha1/names.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/url.hpp"

namespace endstate::agent {

namespace names = v1alpha1::enrolment;
using namespace std::chrono_literals;
using reconcile::Level;

namespace {

constexpr std::string_view by_token = "enrol", meta = "meta", handed = "hand-over";
const std::string business;
constexpr auto look_period = 5s;
constexpr auto lonely = 30s;         // without an assignment and without a hand-over: released
constexpr auto long_silence = 300s;  // of the business cluster: the meta cluster is asked whether it is still ours

CertificateOptions certificate_options(const std::string& name, std::string_view organization, const std::string& uid,
                                       std::int64_t identity, std::chrono::seconds life) {
  std::vector<std::string> organizations{std::string(organization)};
  if (identity > 0) organizations.push_back(names::identity_group(uid, identity));
  return {.name = name,
          .common_name = names::user(uid),
          .organizations = std::move(organizations),
          .request_prefix = names::request_prefix(uid) + name + "-",
          .life = life};
}

}  // namespace

CertificateOptions host_certificate_options(const std::string& uid, std::int64_t identity, std::chrono::seconds life) {
  return certificate_options("host", names::hosts_group, uid, identity, life);
}
CertificateOptions agent_certificate_options(const std::string& uid, std::int64_t identity, std::chrono::seconds life) {
  return certificate_options("agent", names::agents_group, uid, identity, life);
}

Enrolment::Enrolment(reconcile::Env& env, Identity& identity, EnrolmentFile file, Options options, Worker worker,
                     std::function<void()> enrolled, reconcile::Log log)
    : env_(env),
      identity_(identity),
      file_(std::move(file)),
      options_(options),
      worker_(std::move(worker)),
      enrolled_(std::move(enrolled)),
      log_(std::move(log)),
      host_(
          env, identity, host_certificate_options(file_.host_uid, file_.identity, options_.life), [this] { return ask_for_host(); },
          [this] { host_certificate(); }, log_) {}

Result<void> Enrolment::start() {
  if (auto loaded = host_.load(); !loaded) return loaded;
  auto cluster = identity_.cluster();
  if (!cluster) return fail(cluster.error());
  cluster_ = std::move(*cluster);
  if (is_enrolled() && !file_.token.empty()) {  // who brought it took the old certificate away: this one is by that token
    file_.token.clear();
    if (auto stored = identity_.store(file_); !stored) return stored;
  }
  if (!file_.token.empty()) connect(std::string(by_token), token_kubeconfig(file_.server, file_.token));
  if (is_enrolled()) connect(std::string(meta), certificate_kubeconfig(file_.server, host_.pem()));
  host_.start();
  if (cluster_) join();
  look_round();
  return {};
}

void Enrolment::connect(const std::string& connection, const std::string& kubeconfig) {
  if (const auto done = env_.connect(connection, kubeconfig); !done)
    log_(Level::error, "a cluster can't be connected", {{"connection", connection}, {"error", done.error().message}});
}

// ---- certificate 1 ----

// A token that was brought is newer than what there is: the host is to enrol again.
std::optional<std::string> Enrolment::ask_for_host() {
  if (!file_.token.empty()) return std::string(by_token);
  return is_enrolled() ? std::optional<std::string>(meta) : std::nullopt;
}

void Enrolment::host_certificate() {
  connect(std::string(meta), certificate_kubeconfig(file_.server, host_.pem()));
  if (!file_.token.empty()) {
    file_.token.clear();
    if (const auto stored = identity_.store(file_); !stored)
      log_(Level::warning, "the used token can't be taken off the disk", {{"error", stored.error().message}});
    env_.disconnect(std::string(by_token));
  }
  if (enrolled_) enrolled_();
  look_round();
}

// ---- the hand-over ----

void Enrolment::look_round() {
  timer_ = env_.at(env_.now().mono + look_period, [this] {
    const auto held = std::move(timer_);
    look_round();
  });
  const bool assigned = worker_.is_assigned();
  const bool enrolled_anew = cluster_ && cluster_->identity < file_.identity;  // what it has of its cluster is good for nothing now
  watch_hand_over(is_enrolled() && (!assigned || enrolled_anew || worker_.silence() > long_silence));
  const bool is_lonely =
      cluster_ && !assigned && reflector_ && reflector_->synced() && reflector_->lag(env_.now().mono) == 0ns && !has_hand_over_;
  if (!is_lonely)
    lonely_since_.reset();
  else if (!lonely_since_)
    lonely_since_ = env_.now().mono;
  else if (env_.now().mono - *lonely_since_ >= lonely)
    forget();
}

void Enrolment::watch_hand_over(bool wanted) {
  if (wanted == (reflector_ != nullptr)) return;
  has_hand_over_ = false;
  reflector_.reset();
  store_.reset();
  if (!wanted) return;
  store_ = std::make_unique<reconcile::Store>(reconcile::kind_of<reconcile::SecretData>, pool_,
                                              [this](const reconcile::Ref<void>&, const reconcile::Ref<void>& after) {
                                                on_hand_over(static_cast<const reconcile::SecretData*>(after.get()));
                                              });
  // Where nobody but the operator writes. One that enrolled before identities had a number may read beside its Host only.
  const auto place = file_.identity > 0 ? std::string(v1alpha1::system_namespace) : file_.name_space;
  reconcile::ReflectorOptions options{.cluster = std::string(meta), .name_space = place};
  options.selector = "fieldSelector=" + reconcile::percent_encode("metadata.name=" + names::hand_over_secret(file_.host_uid));
  reflector_ = std::make_unique<reconcile::Reflector>(env_, *store_, pool_, std::move(options), reconcile::ReflectorHooks{}, log_);
  reflector_->start();
}

void Enrolment::on_hand_over(const reconcile::SecretData* hand_over) {
  has_hand_over_ = hand_over != nullptr;
  if (hand_over && hand_over->metadata.annotations.get(names::published) == "true") take(*hand_over);
}

void Enrolment::take(const reconcile::SecretData& hand_over) {
  const auto refuse = [&](const std::string& why) {
    if (last_refusal_ != why) log_(Level::error, "what was handed over can't be used", {{"error", why}});
    last_refusal_ = why;
  };
  const auto& notes = hand_over.metadata.annotations;
  ClusterFile next{.claim = std::string(notes.get(names::claimed_by)), .cluster = std::string(notes.get(names::cluster))};
  if (next.claim.empty()) return refuse("it names no claim");
  const auto number = notes.get(names::identity);
  if (std::from_chars(number.data(), number.data() + number.size(), next.identity).ec != std::errc() && !number.empty())
    return refuse("its identity is no number");
  // Of another enrolment than ours: either it is about to be replaced, or this process is about to begin again with what a person has
  // brought.
  if (next.identity != file_.identity) return;
  next.meta = !hand_over.data.has(names::kubeconfig_key);
  if (next.meta) {
    next.server = file_.server;
  } else {
    const auto text = reconcile::from_base64_lines(hand_over.data.get(names::kubeconfig_key));
    if (!text) return refuse("it isn't base64");
    const auto read = reconcile::parse_kubeconfig(*text, {}, {}, "the hand-over");
    if (!read) return refuse(read.error().message);
    next.server = {.address = read->server, .ca = read->ca.text, .tls_server_name = read->tls_server_name, .proxy = read->proxy_url};
    next.token = read->token.text;
  }
  const bool same = cluster_ && cluster_->claim == next.claim && cluster_->server == next.server && cluster_->cluster == next.cluster &&
                    cluster_->identity == next.identity;
  if (same && agent_ && !agent_->pem().empty()) return;  // its token is used
  if (cluster_ == next) return;
  log_(Level::info, "a cluster is handed over", {{"cluster", next.cluster}, {"server", next.server.address}, {"claim", next.claim}});
  if (!same) {  // what was before is over
    agent_.reset();
    worker_.leave();
    env_.disconnect(business);
    for (const char* name : {"agent.pem", "agent.next"})
      if (const auto gone = identity_.remove(name); !gone) return refuse(gone.error().message);
  }
  if (const auto stored = identity_.store(next); !stored) return refuse(stored.error().message);
  last_refusal_.clear();
  cluster_ = std::move(next);
  join();
}

// ---- certificate 2 ----

void Enrolment::join() {
  if (!cluster_->token.empty()) connect(std::string(handed), token_kubeconfig(cluster_->server, cluster_->token));
  if (!agent_) {
    agent_ = std::make_unique<Certificate>(
        env_, identity_, agent_certificate_options(file_.host_uid, cluster_->identity, options_.life), [this] { return ask_for_agent(); },
        [this] { agent_certificate(); }, log_);
    if (const auto loaded = agent_->load(); !loaded)
      log_(Level::error, "the certificate can't be read", {{"error", loaded.error().message}});
  }
  if (!agent_->pem().empty()) enter();
  agent_->start();
}

std::optional<std::string> Enrolment::ask_for_agent() {
  if (!agent_->pem().empty()) return business;
  if (!cluster_->token.empty()) return std::string(handed);
  return cluster_->meta && is_enrolled() ? std::optional<std::string>(meta) : std::nullopt;
}

void Enrolment::agent_certificate() {
  if (!cluster_->token.empty()) {
    cluster_->token.clear();
    if (const auto stored = identity_.store(*cluster_); !stored)
      log_(Level::warning, "the used token can't be taken off the disk", {{"error", stored.error().message}});
    env_.disconnect(std::string(handed));
  }
  enter();
}

void Enrolment::enter() {
  connect(business, certificate_kubeconfig(cluster_->server, agent_->pem()));
  if (const auto stored = identity_.store_kubelet(cluster_->server); !stored)
    log_(Level::error, "the kubelet's bootstrap can't be stored", {{"error", stored.error().message}});
  worker_.follow();
}

// Nothing of the business cluster is left: the next claim begins anew. What is installed stays as it is.
void Enrolment::forget() {
  log_(Level::info, "released: waits for the next claim", {{"cluster", cluster_->cluster}});
  agent_.reset();
  worker_.leave();
  env_.disconnect(business);
  env_.disconnect(std::string(handed));
  lonely_since_.reset();
  for (const char* name : {"agent.pem", "agent.next", "cluster.json"})
    if (const auto gone = identity_.remove(name); !gone)
      log_(Level::error, "can't be taken off the disk", {{"error", gone.error().message}});
  if (const auto gone = identity_.remove_kubelet(); !gone)
    log_(Level::error, "can't be taken off the disk", {{"error", gone.error().message}});
  cluster_.reset();
}

}  // namespace endstate::agent
