// Certificate: one client certificate of this host: asked for, waited for, kept, renewed at two thirds of its life. For the Env's thread.
//
// The key is made and stored before it is asked for, and the request is named by it: an agent that was killed anywhere finds its own
// request again. A key whose request was denied is thrown away. What goes wrong is tried again, a second to five minutes apart, for ever;
// the log says the first time of each trouble, and each ten minutes of a wait.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "reconcile/base/env.hpp"
#include "reconcile/base/log.hpp"
#include "src/agent/identity.hpp"
#include "src/agent/keys.hpp"

namespace endstate::agent {

struct CertificateOptions {
  std::string name;  // of its files: "host", "agent"
  std::string common_name;
  std::vector<std::string> organizations;
  std::string request_prefix;                             // of its requests' names
  std::chrono::seconds life{std::chrono::hours(24 * 7)};  // that is asked for; the signer may give less
};

class Certificate {
 public:
  // `by`: the connection to ask through, while there is no certificate (a token's) or to renew it (its own); nullopt: none now.
  // `changed`: there is a new one.
  Certificate(reconcile::Env& env, Identity& identity, CertificateOptions options, std::function<std::optional<std::string>()> by,
              std::function<void()> changed, reconcile::Log log);
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  Result<void> load();                                     // what is on the disk; a certificate that can't be used is as if there were none
  void start();                                            // asks now if there is none, else when its time has come
  const std::string& pem() const { return pem_; }          // certificate and key; empty: none that is good now
  const std::string& trouble() const { return trouble_; }  // why there is none yet, for people; empty: nothing is known to be wrong

 private:
  void plan();
  void ask();
  void asked(Result<void> end);
  void look();
  void looked(Result<void> end, const std::string& body);
  void take(const std::string& certificate_base64);
  void refused(const std::string& why);
  void failed(const std::string& doing, const std::string& why);
  void again(std::chrono::nanoseconds wait, void (Certificate::*then)());

  reconcile::Env& env_;
  Identity& identity_;
  CertificateOptions options_;
  std::function<std::optional<std::string>()> by_;
  std::function<void()> changed_;
  reconcile::Log log_;

  std::string pem_;
  std::optional<Validity> validity_;
  std::string key_, request_;  // that is asked for; the request's name
  std::optional<reconcile::MonoTime> waiting_since_, told_;
  int failures_ = 0;
  std::string trouble_;
  reconcile::Handle call_, timer_;
};

}  // namespace endstate::agent
