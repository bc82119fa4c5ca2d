#include "src/agent/certificate.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/enrolment.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/certificates.hpp"

namespace endstate::agent {

using namespace std::chrono_literals;
using nlohmann::json;
using reconcile::Call, reconcile::CertificateSigningRequest, reconcile::Level, reconcile::Verb;

namespace {

constexpr auto first_retry = 1s, last_retry = 300s;
constexpr auto look_again = 1s, look_slowly = 15s, hurry = 60s;  // between two looks at a request; slowly once it has waited for `hurry`
constexpr auto tell_again = 600s;
constexpr auto after_denial = 60s;

std::chrono::nanoseconds retry_after(int failures) {
  return std::min<std::chrono::nanoseconds>(last_retry, first_retry * (std::int64_t{1} << std::clamp(failures - 1, 0, 10)));
}

}  // namespace

Certificate::Certificate(reconcile::Env& env, Identity& identity, CertificateOptions options,
                         std::function<std::optional<std::string>()> by, std::function<void()> changed, reconcile::Log log)
    : env_(env),
      identity_(identity),
      options_(std::move(options)),
      by_(std::move(by)),
      changed_(std::move(changed)),
      log_(std::move(log)) {}

Result<void> Certificate::load() {
  const auto pem = identity_.pem(options_.name + ".pem");
  if (!pem) return fail(pem.error());
  if (pem->empty()) return {};
  const auto valid = check_certificate(*pem, *pem, options_.common_name, options_.organizations);
  if (!valid || env_.now().wall >= valid->to) {
    log_(Level::warning, "the certificate on the disk is not used",
         {{"certificate", options_.name}, {"why", valid ? "it is over" : valid.error().message}});
    return {};
  }
  pem_ = *pem;
  validity_ = *valid;
  return {};
}

void Certificate::start() { plan(); }

void Certificate::again(std::chrono::nanoseconds wait, void (Certificate::*then)()) {
  // A tenth of chance, so that a thousand hosts that lost one server don't come back in one moment.
  const auto jitter = std::chrono::nanoseconds(env_.random() % static_cast<std::uint64_t>(wait.count() / 10 + 1));
  timer_ = env_.at(env_.now().mono + wait + jitter, [this, then] {
    const auto held = std::move(timer_);
    (this->*then)();
  });
}

void Certificate::plan() {
  if (!validity_) return ask();
  const auto now = env_.now().wall;
  const auto due = validity_->from + (validity_->to - validity_->from) * 2 / 3;
  if (now >= validity_->to) {  // nobody answered for a third of its life
    log_(Level::error, "the certificate has ended before it could be renewed", {{"certificate", options_.name}});
    pem_.clear();
    validity_.reset();
  }
  if (now >= due) return ask();
  // Looked at each hour: the wall clock can be set.
  again(std::min<std::chrono::nanoseconds>(1h, due - now), &Certificate::plan);
}

// ---- asking ----

void Certificate::ask() {
  const auto by = by_();
  if (!by) return again(5s, &Certificate::plan);  // a token, or a hand-over, must come first
  auto key = identity_.pem(options_.name + ".next");
  if (!key) return failed("read the key", key.error().message);
  auto name = key->empty() ? Result<std::string>(fail(Code::not_found, "")) : fingerprint(*key);
  if (!name) {
    key = make_key();
    if (!key) return failed("make a key", key.error().message);
    if (auto stored = identity_.store_pem(options_.name + ".next", *key); !stored) return failed("store the key", stored.error().message);
    name = fingerprint(*key);
    if (!name) return failed("read the key", name.error().message);
  }
  const auto request = make_request(*key, options_.common_name, options_.organizations);
  if (!request) return failed("make a request", request.error().message);
  key_ = std::move(*key);
  request_ = options_.request_prefix + *name;
  if (!waiting_since_) {
    waiting_since_ = told_ = env_.now().mono;
    log_(Level::info, "asking for a certificate", {{"certificate", options_.name}, {"request", request_}});
  }
  json body{{"apiVersion", "certificates.k8s.io/v1"}, {"kind", "CertificateSigningRequest"}, {"metadata", {{"name", request_}}}};
  body["spec"] = {{"request", reconcile::to_base64(*request)},
                  {"signerName", v1alpha1::enrolment::client_signer},
                  {"expirationSeconds", options_.life.count()},
                  {"usages", {"digital signature", "client auth"}}};
  Call call{.cluster = *by,
            .verb = Verb::create,
            .resource = &reconcile::resource_of<CertificateSigningRequest>,
            .query = "fieldManager=endstate-agent",
            .body = body.dump()};
  call_ = env_.call(
      std::move(call), [](std::string_view) {}, [this](Result<void> end) { asked(std::move(end)); });
}

void Certificate::asked(Result<void> end) {
  const auto held = std::move(call_);
  const bool there = !end && (end.error().code == Code::exists || end.error().code == Code::maybe_done);
  if (!end && !there) return failed("ask for a certificate", end.error().message);
  look();
}

void Certificate::look() {
  const auto by = by_();
  if (!by) return again(5s, &Certificate::plan);
  auto body = std::make_shared<std::string>();
  Call call{.cluster = *by, .verb = Verb::get, .resource = &reconcile::resource_of<CertificateSigningRequest>, .name = request_};
  call_ = env_.call(
      std::move(call), [body](std::string_view frame) { body->assign(frame); },
      [this, body](Result<void> end) { looked(std::move(end), *body); });
}

void Certificate::looked(Result<void> end, const std::string& body) {
  const auto held = std::move(call_);
  if (!end && end.error().code == Code::not_found) return again(look_again, &Certificate::ask);  // forgotten, or it never arrived
  if (!end) return failed("look at the request", end.error().message);
  reconcile::Pool pool;
  const auto request = reconcile::decode<CertificateSigningRequest>(body, pool);
  if (!request) return failed("read the request", request.error().message);
  failures_ = 0;
  for (const auto& c : request->status.conditions)
    if (!(c.type == "Approved")) return refused(c.type.str() + ": " + c.message.str());
  if (!request->status.certificate.empty()) return take(request->status.certificate.str());
  const auto now = env_.now().mono;
  const bool approved = !request->status.conditions.empty();
  trouble_ = approved ? "the request " + request_ + " is approved, and not signed: does the cluster's kube-controller-manager sign?"
                      : "the request " + request_ + " is not approved: does endstate-operator run, and is the Host still there?";
  if (now - *told_ >= tell_again) {
    told_ = now;
    log_(Level::warning, "still waiting for a certificate", {{"certificate", options_.name}, {"why", trouble_}});
  }
  again(now - *waiting_since_ < hurry ? look_again : look_slowly, &Certificate::look);
}

void Certificate::take(const std::string& certificate_base64) {
  const auto certificate = reconcile::from_base64_lines(certificate_base64);
  if (!certificate) return refused("it isn't base64");
  const auto valid = check_certificate(*certificate, key_, options_.common_name, options_.organizations);
  if (!valid) return refused(valid.error().message);
  const auto pem = *certificate + (certificate->ends_with("\n") ? "" : "\n") + key_;
  if (auto stored = identity_.store_pem(options_.name + ".pem", pem); !stored)
    return failed("store the certificate", stored.error().message);
  if (auto gone = identity_.remove(options_.name + ".next"); !gone) return failed("tidy up", gone.error().message);
  pem_ = pem;
  validity_ = *valid;
  key_.clear();
  waiting_since_.reset();
  trouble_.clear();
  failures_ = 0;
  log_(Level::info, "has a certificate", {{"certificate", options_.name}, {"until", reconcile::format_rfc3339(valid->to)}});
  // Later: whoever hears of it may put an end to us.
  timer_ = env_.at(env_.now().mono, [this] {
    const auto held = std::move(timer_);
    plan();
    const auto tell = changed_;
    tell();
  });
}

// This request will never be a certificate: another key, another request, after a while.
void Certificate::refused(const std::string& why) {
  trouble_ = why;
  log_(Level::error, "a certificate was refused", {{"certificate", options_.name}, {"request", request_}, {"why", why}});
  key_.clear();
  waiting_since_.reset();
  if (auto gone = identity_.remove(options_.name + ".next"); !gone) return failed("tidy up", gone.error().message);
  again(after_denial, &Certificate::plan);
}

void Certificate::failed(const std::string& doing, const std::string& why) {
  ++failures_;
  if (failures_ == 1 || trouble_ != why) log_(Level::warning, "can't " + doing, {{"certificate", options_.name}, {"error", why}});
  trouble_ = why;
  again(retry_after(failures_), &Certificate::plan);
}

}  // namespace endstate::agent
