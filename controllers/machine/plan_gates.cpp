// Gates: what must be True before pods may come. Unknown is its own value: it blocks the first opening, and closes nothing.
#include <algorithm>
#include <array>

#include "apis/v1alpha1/prefetch.hpp"
#include "controllers/machine/pass.hpp"

namespace endstate::machine {
namespace {

// How bad a status is, when several speak of one type: the worst counts.
int badness(ConditionStatus s) { return s == ConditionStatus::true_ ? 0 : s == ConditionStatus::unknown ? 1 : 2; }

constexpr std::array own_types = {api::condition::ready,
                                  api::condition::reconciling,
                                  api::condition::stalled,
                                  api::condition::paused,
                                  api::condition::deleting,
                                  api::condition::host_claimed,
                                  api::condition::packages_ready,
                                  api::condition::node_ready,
                                  api::condition::scheduling_open,
                                  api::condition::drained,
                                  api::condition::agent_alive,
                                  api::condition::wiped,
                                  api::condition::external_conditions,
                                  api::prefetch::condition};

bool is_own(std::string_view type) { return std::find(own_types.begin(), own_types.end(), type) != own_types.end(); }

struct Reports {  // of other components, by type, the worst of each
  std::vector<Gate> all;
  void add(const Text& type, ConditionStatus status, const Text& why, std::string message) {
    const auto at = std::find_if(all.begin(), all.end(), [&](const Gate& g) { return g.type == type; });
    if (at == all.end())
      all.push_back({type, status, why, std::move(message)});
    else if (badness(status) > badness(at->status))
      *at = {type, status, why, std::move(message)};
  }
  const Gate* find(const Text& type) const {
    const auto at = std::find_if(all.begin(), all.end(), [&](const Gate& g) { return g.type == type; });
    return at == all.end() ? nullptr : &*at;
  }
};

std::string from(std::string_view source, std::string_view message) {
  std::string text(source);
  if (!message.empty()) text.append(": ").append(message.substr(0, 1000));
  return text;
}

std::vector<Text> wanted_types(const Pass& p) {
  std::vector<Text> types;
  const auto add = [&](const std::vector<api::ReadinessGate>& gates) {
    for (const auto& g : gates)
      if (!is_own(g.condition_type) && std::find(types.begin(), types.end(), g.condition_type) == types.end())
        types.push_back(g.condition_type);
  };
  add(p.machine.spec.readiness_gates);
  for (const Package& package : p.in.packages)
    if (package.version) add(package.version->spec.readiness_gates);
  return types;
}

void read_external(Pass& p, Reports& reports) {
  std::string trouble;
  for (const auto& source : p.in.external) {
    const std::string name = "ConfigMap " + source.config_map.str();
    if (!source.conditions) {
      if (trouble.empty()) trouble = name + ": " + source.conditions.error().message;
      continue;
    }
    for (const Condition& c : *source.conditions) {
      if (is_own(c.type)) {
        if (trouble.empty()) trouble = name + ": type " + c.type.str() + " is endstate's own; choose another";
        continue;
      }
      reports.add(c.type, c.status, c.reason.empty() ? Text(reason::unknown) : c.reason, from(name, c.message));
    }
  }
  if (p.in.external.empty()) return;
  p.condition(api::condition::external_conditions, trouble.empty() ? ConditionStatus::true_ : ConditionStatus::false_,
              trouble.empty() ? reason::readable : reason::malformed, trouble);
}

void read_agent(const Pass& p, Reports& reports) {
  if (!p.assignment) return;
  for (const Condition& c : p.assignment->status.conditions) {
    if (is_own(c.type)) continue;
    if (p.silent())
      reports.add(c.type, ConditionStatus::unknown, reason::agent_silent,
                  "agent: silent, it said " + std::string(name_of(c.status)) + " last");
    else
      reports.add(c.type, c.status, c.reason.empty() ? Text(reason::unknown) : c.reason, from("agent", c.message));
  }
}

// A Node has conditions that nobody here waits for, some of which are good when True and some when False: only gates are taken over.
void read_node(const Pass& p, const std::vector<Text>& wanted, Reports& reports) {
  if (p.node_is != NodeIs::ours) return;
  for (const auto& c : p.in.node->status.conditions)
    if (std::find(wanted.begin(), wanted.end(), c.type) != wanted.end())
      reports.add(c.type, c.status, c.reason.empty() ? Text(reason::unknown) : c.reason, from("node", c.message));
}

// A pod that goes says nothing any more: the gate is not known until its DaemonSet has made the next.
void read_gate_pods(const Pass& p, const std::vector<Text>& wanted, Reports& reports) {
  if (p.node_is != NodeIs::ours) return;
  for (const auto& pod : p.in.gate_pods) {
    const Text type(pod->metadata.labels.get(api::label::readiness_gate));
    if (pod->metadata.deleting() || std::find(wanted.begin(), wanted.end(), type) == wanted.end()) continue;
    const auto& conditions = pod->status.conditions;
    const auto ready = std::find_if(conditions.begin(), conditions.end(), [](const auto& c) { return c.type == "Ready"; });
    const std::string name = "pod " + pod->metadata.key().str();
    if (ready == conditions.end())
      reports.add(type, ConditionStatus::false_, reason::waiting_for_pod, name + " has not started yet");
    else if (ready->status == ConditionStatus::true_)
      reports.add(type, ConditionStatus::true_, reason::ready, name);
    else
      reports.add(type, ready->status, reason::waiting_for_pod, from(name + " is not Ready", ready->message));
  }
}

Gate agent_gate(const Pass& p) {
  Gate g{.type = api::condition::agent_alive, .status = ConditionStatus::unknown, .reason = reason::waiting_for_agent, .message = {}};
  if (!p.in.agent_silence) {
    g.message = "the agent has not renewed its Lease yet";
  } else if (p.silent()) {
    g.reason = reason::agent_silent;
    g.message = "the agent's Lease has not been renewed for more than " +
                std::to_string(std::chrono::ceil<std::chrono::minutes>(p.in.agent_lasts).count()) +
                " min: look at the host, its network, and the agent's log";
  } else {
    g.status = ConditionStatus::true_;
    g.reason = reason::agent_alive;
  }
  return g;
}

Gate packages_gate(const Pass& p) {
  Gate g{.type = api::condition::packages_ready, .status = ConditionStatus::false_, .reason = reason::packages_pending, .message = {}};
  const PackageFacts& f = p.packages;
  if (!p.resolved && (!p.assignment || p.differs)) {
    g.reason = reason::package_not_found;
    g.message = "MachinePackageVersion " + p.missing_package.str() + " does not exist: create it, or refer to another";
    if (p.assignment && p.in_service && f.ready) g.status = ConditionStatus::true_;  // what is installed goes on working
  } else if (!p.assignment) {
    g.message = "nothing is assigned to a host yet";
  } else if (!f.failed.empty()) {
    g.reason = reason::package_failed;
    g.message = "package " + f.failed.str() + (f.failed_reason.empty() ? "" : ": " + f.failed_reason.str()) +
                (f.failed_message.empty() ? "" : ": " + f.failed_message.str());
  } else if (f.ready) {
    g.status = ConditionStatus::true_;
    g.reason = reason::ready;
  } else {
    g.message = f.observed ? "package " + f.waiting.str() + " is not Ready yet" : "the agent has not seen its assignment yet";
    // An agent that repairs drift on a machine in service is neither healthy nor broken.
    if (p.in_service && !p.machine.status.operation && !f.drifted) g.status = ConditionStatus::unknown;
  }
  if (p.assignment && p.silent() && p.in.agent_silence) {
    g.status = ConditionStatus::unknown;
    g.reason = reason::agent_silent;
    g.message = "the agent is silent: what is installed is not known";
  }
  return g;
}

Gate node_gate(const Pass& p) {
  Gate g{.type = api::condition::node_ready, .status = ConditionStatus::false_, .reason = reason::waiting_for_node, .message = {}};
  if (p.node_is == NodeIs::absent) {
    if (p.in_service) g.reason = reason::node_gone;
    g.message = p.in_service ? "the Node was deleted: it comes back when the kubelet registers again (restart it)"
                             : "the Node has not registered yet";
    return g;
  }
  if (p.node_is == NodeIs::foreign) {
    g.reason = reason::node_name_taken;
    g.message =
        "Node " + p.in.node->metadata.name.str() +
        " exists and belongs to another: delete it, give the machine another host, or have it taken over (annotate the Machine with "
        "endstate.dev/adopt-node=" +
        p.in.node->metadata.uid.str() + ")";
    return g;
  }
  g.status = ConditionStatus::unknown;
  g.reason = reason::unknown;
  for (const auto& c : p.in.node->status.conditions) {
    if (!(c.type == "Ready")) continue;
    g.status = c.status;
    g.reason = c.status == ConditionStatus::true_ ? Text(reason::ready) : c.reason.empty() ? Text(reason::node_unhealthy) : c.reason;
    if (c.status != ConditionStatus::true_) g.message = from("node", c.message);
  }
  return g;
}

}  // namespace

void judge_gates(Pass& p) {
  Reports reports;
  const auto wanted = wanted_types(p);
  read_external(p, reports);
  read_agent(p, reports);
  read_node(p, wanted, reports);
  read_gate_pods(p, wanted, reports);
  p.gates = {agent_gate(p), packages_gate(p), node_gate(p)};
  for (const Text& type : wanted) {
    if (const Gate* g = reports.find(type))
      p.gates.push_back(*g);
    else
      p.gates.push_back({type, ConditionStatus::unknown, reason::unknown, "nobody has reported this readiness gate yet"});
  }
  for (const Gate& g : reports.all) p.condition(g.type, g.status, g.reason, g.message);
  p.gates_status = ConditionStatus::true_;
  for (std::size_t i = 0; i < p.gates.size(); ++i) {
    const Gate& g = p.gates[i];
    p.condition(g.type, g.status, g.reason, g.message);
    if (badness(g.status) > badness(p.gates_status)) {
      p.gates_status = g.status;
      p.worst_gate = i;
    }
  }
  if (p.in.agent_silence && !p.silent()) p.again(p.in.agent_lasts - *p.in.agent_silence + std::chrono::seconds(1));
}

}  // namespace endstate::machine
