#include "src/kubectl/preview_text.hpp"

#include "src/kubectl/text.hpp"

namespace endstate::kubectl {
namespace {

using machine_set::Preview, machine_set::PreviewEnd, machine_set::PreviewStep, machine_set::PreviewVerdict;
using std::chrono::seconds;

constexpr std::size_t few = 8;

std::string at(seconds t) { return "+" + reconcile::format_duration(t); }

std::string title(const PreviewStep& s) {
  if (s.name == machine_set::preview_step::replicas) return "number of machines";
  if (s.name == machine_set::preview_step::preflight) return "before the first machine";
  if (s.name == machine_set::preview_step::back) return "back to the revision before, without steps";
  return "step " + s.name.str() + (s.target > 0 ? " (up to " + std::to_string(s.target) + ")" : "");
}

void line(std::string& out, std::string_view label, const std::string& text) {
  out.append("       ").append(label).append(std::string(label.size() < 9 ? 9 - label.size() : 1, ' ')).append(plain(text)).append("\n");
}

void tell(const PreviewStep& s, std::size_t number, bool all, seconds offset, std::string& out) {
  const auto most = all ? s.updated.size() + s.deleted.size() + s.created.size() : few;
  const auto touched = s.updates + s.creations + s.deletions;
  const bool waits = s.name == machine_set::preview_step::preflight;
  out += "  " + std::to_string(number) + ". " + title(s) + ": " + (waits ? "waits" : counted(touched, "machine")) + ", from " +
         at(offset + s.begin) + " to " + at(offset + s.end) +
         (s.most_at_once > 1 ? ", at most " + std::to_string(s.most_at_once) + " at once" : "") + "\n";
  if (s.updates > 0) line(out, "update", some_of(s.updated, most));
  if (s.creations > 0)
    line(out, "create",
         s.created.empty() ? counted(s.creations, "machine") + "; the API server gives the names" : some_of(s.created, most));
  if (s.deletions > 0) line(out, "delete", some_of(s.deleted, most));
  for (const auto& l : s.limits)
    line(out, "held by",
         (l.kind == "MachineSet"
              ? "the set's " + l.message.str()
              : l.kind.str() + (l.name.empty() ? "" : " " + l.name.str()) + ": " + l.reason.str() + ": " + l.message.str()) +
             " (" + counted(l.machines, "machine") + (l.machines == 1 ? " waits" : " wait") + ", first at " + at(offset + l.first) + ")");
  if (!s.then.empty()) line(out, "then", s.then.str());
}

void tell(const machine_set::PreviewCheck& c, std::string& out) {
  std::string_view found = "passes";
  switch (c.result) {
    case PreviewVerdict::passed: break;
    case PreviewVerdict::failed: found = "FAILS"; break;
    case PreviewVerdict::waits: found = "waits"; break;
    case PreviewVerdict::unknown: found = "unknown"; break;
    case PreviewVerdict::skipped: found = "skipped"; break;
  }
  line(out, found, std::string(reconcile::name_of(c.check)) + (c.message.empty() ? "" : ": " + c.message.str()));
}

std::string ending(const Preview& p, seconds offset) {
  const std::string about = "about " + reconcile::format_duration(p.duration) + (offset > seconds(0) ? " after that" : "");
  switch (p.end) {
    case PreviewEnd::nothing: return "Nothing would be done to a machine.";
    case PreviewEnd::complete: return "In all: " + counted(p.touched, "machine") + ", " + about + ".";
    case PreviewEnd::partition: return "In all: " + counted(p.touched, "machine") + ", " + about + "; then " + p.why.str() + ".";
    case PreviewEnd::rolled_back:
      return p.touched == 0 ? "No machine would be touched." : "In all: " + counted(p.touched, "machine") + " go back, " + about + ".";
    case PreviewEnd::stuck:
      return "It would stand still after " + counted(p.touched, "machine") + " and " + about + (p.why.empty() ? "." : ": " + p.why.str());
    case PreviewEnd::cut: return "After " + counted(p.touched, "machine") + " and " + about + " " + p.why.str() + ".";
  }
  return {};
}

}  // namespace

std::string preview_text(const Preview& p, bool all, seconds offset) {
  std::string out = "What would happen to machineset/" + p.set.str();
  if (!(p.from == p.to)) out += ", from revision " + p.from.str() + " to " + p.to.str();
  out += " (an update of a machine takes about " + reconcile::format_duration(p.machine_time) + "):\n";
  for (const auto& problem : p.problems) out += "  REFUSED: " + plain(problem) + "\n";
  if (!p.preflight.empty()) out += "  Pre-flight, before the first machine is touched:\n";
  for (const auto& c : p.preflight) tell(c, out);
  std::size_t number = 0;
  for (const auto& s : p.steps) tell(s, ++number, all, offset, out);
  out += "  " + plain(ending(p, offset)) + "\n";
  for (const auto& w : p.warnings) out += "  Note: " + plain(w) + "\n";
  for (const auto& a : p.assumptions) out += "  Assumed: " + plain(a) + "\n";
  return out;
}

}  // namespace endstate::kubectl
