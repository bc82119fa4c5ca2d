// The commands. Each asks, says, and returns its exit code. Text for the user goes to `out`, what went wrong as one line to `err`.
#pragma once
#include <istream>
#include <ostream>
#include <string>

#include "src/kubectl/args.hpp"
#include "src/kubectl/client.hpp"

namespace endstate::kubectl {

struct Session {
  Client& client;
  std::string name_space;
  std::ostream& out;
  std::ostream& err;

  int fail(const std::string& what, int code) const {
    err << "kubectl-endstate: " << what << "\n";
    return code;
  }
  int fail(const reconcile::Error& error) const { return fail(error.message, exit_code::server); }
};

int run_rollout(const Session& session, const RolloutArgs& args);
int run_diff(const Session& session, const DiffArgs& args, std::istream& standard_input);
int run_kubeconfig(const Session& session, const KubeconfigArgs& args);
int run_describe(const Session& session, const DescribeArgs& args);
int run_rights(const Session& session, const RightsArgs& args);
int run_doctor(const Session& session);
int run_enrol(const Session& session, const EnrolArgs& args, const reconcile::Credentials& credentials);

}  // namespace endstate::kubectl
