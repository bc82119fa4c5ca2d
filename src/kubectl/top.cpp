#include "src/kubectl/top.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "controllers/common/machine_state.hpp"
#include "reconcile/json/encode.hpp"
#include "src/kubectl/progress.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using reconcile::name_of, reconcile::WallTime;

constexpr std::size_t phases = 8;
constexpr std::size_t operations = 6;

struct Count {
  std::int64_t all = 0, ready = 0, unavailable = 0;  // unavailable: of those that have been in service
  std::array<std::int64_t, phases> by_phase{};
  std::array<std::int64_t, operations> under_way{};

  void add(const api::Machine& m) {
    ++all;
    ready += is_available(m);
    unavailable += was_in_service(m) && is_unavailable(m) && !m.metadata.deleting();
    ++by_phase[static_cast<std::size_t>(m.status.phase)];
    if (m.status.operation) ++under_way[static_cast<std::size_t>(m.status.operation->type)];
  }
  std::string operation_text() const {
    std::string out;
    for (std::size_t i = 0; i < operations; ++i)
      if (under_way[i] > 0)
        out += (out.empty() ? "" : " ") + std::string(name_of(static_cast<api::OperationType>(i))) + ":" + std::to_string(under_way[i]);
    return out.empty() ? "-" : out;
  }
};

std::map<std::string, Count> count(const Fleet& fleet) {
  std::map<std::string, Count> out;
  for (const auto& m : fleet.machines) out[m->metadata.name_space.str() + "/" + m->spec.cluster_name.str()].add(*m);
  return out;
}

std::string zero(std::int64_t n) { return n == 0 ? "-" : std::to_string(n); }

std::string share(const api::IntOrPercent& v) { return std::to_string(v.value) + (v.percent ? "%" : ""); }

std::string clusters_text(const Fleet& fleet, const std::map<std::string, Count>& counts) {
  std::vector<std::vector<std::string>> rows{{"CLUSTER", "READY", "VERSION", "MACHINES", "READY", "UNAVAILABLE"}};
  for (std::size_t p = 0; p < phases; ++p) {
    std::string name(name_of(static_cast<api::MachinePhase>(p)));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    rows[0].push_back(name);
  }
  rows[0].push_back("UNDER WAY");
  for (const auto& c : fleet.clusters) {
    const auto it = counts.find(c->metadata.key().str());
    const Count n = it == counts.end() ? Count{} : it->second;
    const auto* ready = reconcile::find_condition(c->status.conditions, api::condition::ready);
    std::vector<std::string> row{c->metadata.key().str(),
                                 ready ? std::string(name_of(ready->status)) : "Unknown",
                                 c->status.control_plane.version.empty() ? "-" : c->status.control_plane.version.str(),
                                 std::to_string(n.all),
                                 std::to_string(n.ready),
                                 zero(n.unavailable)};
    for (const auto p : n.by_phase) row.push_back(zero(p));
    row.push_back(n.operation_text());
    rows.push_back(std::move(row));
  }
  return table(rows);
}

std::string sets_text(const Fleet& fleet) {
  std::vector<std::vector<std::string>> rows{
      {"MACHINESET", "DESIRED", "AVAILABLE", "UP-TO-DATE", "ROLLOUT", "STEP", "PROGRESS", "HELD BY"}};
  for (const auto& s : fleet.sets) {
    const auto& st = s->status;
    const auto replicas = api::replicas(s->spec);
    std::string held = "-", step = "-", phase = "-";
    if (st.rollout) {
      phase = name_of(st.rollout->phase);
      if (!st.rollout->step.empty()) step = st.rollout->step.str();
      if (const auto& b = st.rollout->blocked_by)
        held = b->kind.str() + (b->name.empty() ? "" : " " + b->name.str()) + " " + b->reason.str();
      else if (const auto* why = reconcile::find_condition(st.conditions, api::condition::rolling_out);
               st.rollout->phase == api::RolloutPhase::paused && why)
        held = why->reason.str();
    }
    rows.push_back({s->metadata.key().str(), std::to_string(replicas), std::to_string(st.available_replicas),
                    std::to_string(st.up_to_date_replicas), phase, step, bar(std::min(st.up_to_date_replicas, replicas), replicas, 20),
                    held});
  }
  return table(rows);
}

std::string budgets_text(const Fleet& fleet) {
  std::vector<std::vector<std::string>> rows{{"BUDGET", "CLUSTER", "LIMIT", "UNDER WAY", "WINDOWS", "BREAKER"}};
  for (const auto& b : fleet.budgets) {
    const auto breaker = [&](const reconcile::Text& cluster) {
      for (const auto& s : b->status.breakers)
        if (s.cluster == cluster) return std::string(name_of(s.state)) + (s.reason.empty() ? "" : " " + s.reason.str());
      return std::string("-");
    };
    for (const auto& u : b->status.usage) {
      const auto spec =
          std::find_if(b->spec.limits.begin(), b->spec.limits.end(), [&](const api::BudgetLimit& l) { return l.name == u.limit; });
      if (spec == b->spec.limits.end()) continue;
      std::string windows;
      for (const auto& w : u.windows) {
        std::int64_t max = 0;
        for (const auto& of : spec->windows)
          if (of.duration == w.duration) max = of.max;
        windows += (windows.empty() ? "" : ", ") + std::to_string(w.used) + "/" + std::to_string(max) + " in " +
                   reconcile::format_duration(w.duration);
      }
      rows.push_back({b->metadata.name.str(), u.cluster.str(), u.limit.str(),
                      std::to_string(u.in_flight) + (spec->max_concurrent ? "/" + share(*spec->max_concurrent) : ""),
                      windows.empty() ? "-" : windows, breaker(u.cluster)});
    }
    for (const auto& s : b->status.schedules)
      if (s.on)
        rows.push_back({b->metadata.name.str(), "*", "schedule " + s.name.str(), "on",
                        s.until == WallTime{} ? "-" : "until " + reconcile::format_rfc3339(s.until), "-"});
    for (const auto& s : b->status.breakers)
      if (s.state != api::BreakerState::closed &&
          std::none_of(b->status.usage.begin(), b->status.usage.end(), [&](const api::LimitUsage& u) { return u.cluster == s.cluster; }))
        rows.push_back({b->metadata.name.str(), s.cluster.str(), "-", "-", "-", breaker(s.cluster)});
  }
  return rows.size() == 1 ? std::string() : "\n" + table(rows);
}

}  // namespace

std::string fleet_text(const Fleet& fleet, WallTime now) {
  const auto counts = count(fleet);
  Count total;
  for (const auto& [name, n] : counts) {
    total.all += n.all;
    total.ready += n.ready;
    total.unavailable += n.unavailable;
    for (std::size_t i = 0; i < operations; ++i) total.under_way[i] += n.under_way[i];
  }
  std::string out = "endstate  " + reconcile::format_rfc3339(now) + "  clusters " + std::to_string(fleet.clusters.size()) + "  sets " +
                    std::to_string(fleet.sets.size()) + "  machines " + std::to_string(total.all) + "  ready " +
                    std::to_string(total.ready) + "  unavailable " + std::to_string(total.unavailable) + "  under way " +
                    total.operation_text() + "\n";
  for (const auto& t : fleet.trouble) out += "! " + plain(t) + "\n";
  return out + "\n" + clusters_text(fleet, counts) + "\n" + sets_text(fleet) + budgets_text(fleet);
}

std::string fit(const std::string& text, std::size_t lines, std::size_t columns) {
  std::string out;
  std::size_t told = 0, at = 0, more = 0;
  while (at < text.size()) {
    const auto end = std::min(text.find('\n', at), text.size());
    const bool last_place = lines > 0 && told + 1 >= lines && end + 1 < text.size();
    if (last_place || more > 0) {
      ++more;
    } else {
      out += (columns > 0 ? clip(std::string_view(text).substr(at, end - at), columns) : text.substr(at, end - at)) + "\n";
      ++told;
    }
    at = end + 1;
  }
  if (more > 0)
    out +=
        clip("... and " + std::to_string(more) + " more lines: make the terminal higher, or use --once", columns > 0 ? columns : 80) + "\n";
  return out;
}

std::string fleet_json(const Fleet& fleet) {
  const auto counts = count(fleet);
  std::string out = "{\"clusters\":[";
  for (std::size_t i = 0; i < fleet.clusters.size(); ++i) {
    const auto& c = *fleet.clusters[i];
    const auto it = counts.find(c.metadata.key().str());
    const Count n = it == counts.end() ? Count{} : it->second;
    out += (i ? "," : "") + std::string("{\"cluster\":") + reconcile::quote(c.metadata.key().str()) +
           ",\"machines\":" + std::to_string(n.all) + ",\"ready\":" + std::to_string(n.ready) +
           ",\"unavailable\":" + std::to_string(n.unavailable) + ",\"phases\":{";
    for (std::size_t p = 0; p < phases; ++p)
      out += (p ? "," : "") + reconcile::quote(name_of(static_cast<api::MachinePhase>(p))) + ":" + std::to_string(n.by_phase[p]);
    out += "},\"operations\":{";
    for (std::size_t o = 0; o < operations; ++o)
      out += (o ? "," : "") + reconcile::quote(name_of(static_cast<api::OperationType>(o))) + ":" + std::to_string(n.under_way[o]);
    out += "}}";
  }
  out += "],\"sets\":[";
  for (std::size_t i = 0; i < fleet.sets.size(); ++i)
    out += (i ? "," : "") + std::string("{\"set\":") + reconcile::quote(fleet.sets[i]->metadata.key().str()) +
           ",\"replicas\":" + std::to_string(api::replicas(fleet.sets[i]->spec)) +
           ",\"status\":" + reconcile::encode(fleet.sets[i]->status) + "}";
  out += "],\"budgets\":[";
  for (std::size_t i = 0; i < fleet.budgets.size(); ++i)
    out += (i ? "," : "") + std::string("{\"budget\":") + reconcile::quote(fleet.budgets[i]->metadata.name) +
           ",\"status\":" + reconcile::encode(fleet.budgets[i]->status) + "}";
  out += "],\"trouble\":[";
  for (std::size_t i = 0; i < fleet.trouble.size(); ++i) out += (i ? "," : "") + reconcile::quote(fleet.trouble[i]);
  return out + "]}\n";
}

}  // namespace endstate::kubectl
