// kubectl-endstate: the kubectl plugin (`kubectl endstate ...`). This file is the wiring; each part's header says what it does.
#include <cstdlib>
#include <iostream>

#include "src/common/signals.hpp"
#include "src/kubectl/args.hpp"
#include "src/kubectl/complete.hpp"
#include "src/kubectl/kubeconfig.hpp"
#include "src/kubectl/run.hpp"
#include "src/kubectl/run_top.hpp"

int main(int argc, char** argv) {
  using namespace endstate::kubectl;
  if (argc > 1 && std::string_view(argv[1]) == "__complete") return run_complete({argv + 2, argv + argc});
  const auto parsed = parse_args(argc, argv);
  if (const auto* code = std::get_if<int>(&parsed)) return *code;
  const auto& args = std::get<Args>(parsed);

  auto credentials = user_credentials(args.common.kubeconfig, args.common.context, [](const char* name) { return std::getenv(name); });
  if (!credentials) {
    std::cerr << "kubectl-endstate: " << credentials.error().message << "\n";
    return exit_code::usage;
  }
  std::string name_space = args.common.name_space.empty() ? credentials->name_space : args.common.name_space;
  if (name_space.empty()) name_space = "default";

  if (const auto* top = std::get_if<TopArgs>(&args.command)) {
    endstate::block_stop_signals();
    return run_top(*credentials, name_space, args, *top);
  }
  Client client(*credentials, {.timeout = args.common.request_timeout});
  const Session session{client, name_space, std::cout, std::cerr};
  if (const auto* rollout = std::get_if<RolloutArgs>(&args.command)) return run_rollout(session, *rollout);
  if (const auto* diff = std::get_if<DiffArgs>(&args.command)) return run_diff(session, *diff, std::cin);
  if (const auto* kubeconfig = std::get_if<KubeconfigArgs>(&args.command)) return run_kubeconfig(session, *kubeconfig);
  if (const auto* enrol = std::get_if<EnrolArgs>(&args.command)) return run_enrol(session, *enrol, *credentials);
  if (const auto* rights = std::get_if<RightsArgs>(&args.command)) return run_rights(session, *rights);
  if (std::holds_alternative<DoctorArgs>(args.command)) return run_doctor(session);
  return run_describe(session, std::get<DescribeArgs>(args.command));
}
