// Enrolment: the way of this host to its business cluster and back (docs/decisions/0010-enrolment.md). For the Env's thread.
//
//   nobody     -> certificate 1, by the token that a person brought         connection "enrol", then "meta"
//   known      -> watches its hand-over Secret, while it has no HostAssignment
//   claimed    -> certificate 2, by what was handed over                    connection "hand-over" (or "meta"), then "" for the agent
//   released   -> forgets certificate 2, and is known
//
// All that it knows is on the disk (identity.hpp): killed anywhere, the next one goes on.
#pragma once
#include <memory>

#include "apis/v1alpha1/enrolment.hpp"
#include "reconcile/cache/reflector.hpp"
#include "reconcile/kube/secret.hpp"
#include "src/agent/certificate.hpp"

namespace endstate::agent {

// Who works in the business cluster (connection "").
struct Worker {
  std::function<void()> follow;                       // it can be reached now, or by other credentials
  std::function<void()> leave;                        // it can't any more
  std::function<bool()> is_assigned;                  // it has a HostAssignment there
  std::function<std::chrono::nanoseconds()> silence;  // since the last word of that cluster; 0: it talks
};

// `identity`: the number of its enrolment, as it was told; 0: none.
CertificateOptions host_certificate_options(const std::string& uid, std::int64_t identity, std::chrono::seconds life);   // certificate 1
CertificateOptions agent_certificate_options(const std::string& uid, std::int64_t identity, std::chrono::seconds life);  // certificate 2

class Enrolment {
 public:
  struct Options {
    std::chrono::seconds life{v1alpha1::enrolment::usual_life};  // of certificates, as they are asked for
  };
  // `file`: what is on the disk. `enrolled`: certificate 1 is there.
  Enrolment(reconcile::Env& env, Identity& identity, EnrolmentFile file, Options options, Worker worker, std::function<void()> enrolled,
            reconcile::Log log);
  Enrolment(const Enrolment&) = delete;
  Enrolment& operator=(const Enrolment&) = delete;

  Result<void> start();
  bool is_enrolled() const { return !host_.pem().empty(); }
  const std::string& certificate() const { return host_.pem(); }  // certificate 1 and its key; empty: none that is good now
  const std::string& trouble() const { return host_.trouble(); }

 private:
  std::optional<std::string> ask_for_host();
  std::optional<std::string> ask_for_agent();
  void host_certificate();
  void agent_certificate();
  void connect(const std::string& connection, const std::string& kubeconfig);
  void look_round();
  void watch_hand_over(bool wanted);
  void on_hand_over(const reconcile::SecretData* hand_over);
  void take(const reconcile::SecretData& hand_over);
  void join();
  void forget();
  void enter();

  reconcile::Env& env_;
  Identity& identity_;
  EnrolmentFile file_;
  Options options_;
  Worker worker_;
  std::function<void()> enrolled_;
  reconcile::Log log_;
  Certificate host_;
  std::unique_ptr<Certificate> agent_;
  std::optional<ClusterFile> cluster_;

  reconcile::Pool pool_;
  std::unique_ptr<reconcile::Store> store_;
  std::unique_ptr<reconcile::Reflector> reflector_;
  bool has_hand_over_ = false;
  std::optional<reconcile::MonoTime> lonely_since_;  // neither assigned nor handed over
  std::string last_refusal_;
  reconcile::Handle timer_;
};

}  // namespace endstate::agent
