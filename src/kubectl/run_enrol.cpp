#include <unistd.h>

#include "apis/v1alpha1/enrolment.hpp"
#include "src/kubectl/enrol.hpp"
#include "src/kubectl/run.hpp"
#include "src/kubectl/verbs.hpp"

namespace endstate::kubectl {

namespace {

constexpr std::chrono::milliseconds look_again{300};

}  // namespace

int run_enrol(const Session& s, const EnrolArgs& args, const reconcile::Credentials& credentials) {
  const auto secrets = reconcile::load_secrets(credentials);
  if (!secrets) return s.fail(secrets.error().message, exit_code::usage);
  const auto host = s.client.get<v1alpha1::Host>(s.name_space, args.host);
  if (!host) return s.fail(host.error());
  // What can't be used is said before there is a token.
  if (const auto usable = enrolment_text(**host, {.text = "-"}, args, credentials, secrets->ca_pem); !usable)
    return s.fail(usable.error().message, exit_code::usage);

  const auto wish = reconcile::format_rfc3339_micro(s.client.now());
  const auto asked = s.client.send({.verb = reconcile::Verb::merge_patch,
                                    .resource = &reconcile::resource_of<v1alpha1::Host>,
                                    .name_space = s.name_space,
                                    .name = args.host,
                                    .query = "fieldManager=" + std::string(field_manager),
                                    .body = wish_for_token(**host, wish)});
  if (!asked) return s.fail(asked.error());
  const auto name = v1alpha1::enrolment::token_secret((*host)->metadata.uid);
  const auto end = s.client.mono() + args.timeout;
  while (true) {
    const auto secret = s.client.get<reconcile::SecretData>(s.name_space, name);
    if (!secret && secret.error().code != reconcile::Code::not_found) return s.fail(secret.error());
    if (const auto token = secret ? token_for(**secret, wish) : std::nullopt) {
      s.out << enrolment_text(**host, *token, args, credentials, secrets->ca_pem).value();
      if (::isatty(STDOUT_FILENO) == 1)
        s.err << "This is good for one hour and one host: pipe it into 'endstate-agent --enrol -' there, as root.\n";
      return exit_code::good;
    }
    if (s.client.mono() >= end)
      return s.fail("no token was made within " + std::to_string(args.timeout.count()) +
                        " s: does endstate-operator run, and may it write Secrets in " +
                        std::string(v1alpha1::enrolment::bootstrap_namespace) + "? (its log says)",
                    exit_code::no);
    s.client.sleep(look_again);
  }
}

}  // namespace endstate::kubectl
