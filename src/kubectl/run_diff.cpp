#include <algorithm>
#include <map>

#include "controllers/machine_set/steps.hpp"
#include "reconcile/json/encode.hpp"
#include "reconcile/kube/url.hpp"
#include "src/kubectl/changes.hpp"
#include "src/kubectl/kinds.hpp"
#include "src/kubectl/manifests.hpp"
#include "src/kubectl/preview_text.hpp"
#include "src/kubectl/run.hpp"
#include "src/kubectl/text.hpp"
#include "src/kubectl/world.hpp"

namespace endstate::kubectl {
namespace {

namespace api = v1alpha1;
using reconcile::Code, reconcile::Error, reconcile::Kind, reconcile::Result;
using std::chrono::seconds;

// One object that the user would apply: as it is, and as it would be stored.
struct Wanted {
  const Kind* kind = nullptr;
  std::string name_space, name, before, after;  // JSON; before is empty: it would be created
  std::vector<Change> changes;
  std::string title() const {
    std::string out(kind->resource->kind);
    return out + " " + (name_space.empty() ? "" : name_space + "/") + name;
  }
};

// Why it ends here, and with which exit code.
struct Stop {
  std::string why;
  int code;
};

class Differ {
 public:
  Differ(const Session& s, const DiffArgs& args) : s_(s), args_(args) {}

  int run(std::istream& standard_input) {
    auto stop = args_.target ? take_revision() : take_files(standard_input);
    if (stop) return s_.fail(stop->why, stop->code);
    if (auto error = play()) return s_.fail(*error);
    say();
    const bool any = std::any_of(wanted_.begin(), wanted_.end(), [](const Wanted& w) { return !w.changes.empty() || w.before.empty(); });
    return any ? exit_code::no : exit_code::good;
  }

 private:
  // ---- what would be stored ----

  std::optional<Stop> take_files(std::istream& standard_input) {
    const auto manifests = read_manifests(args_.files, standard_input);
    if (!manifests) return Stop{manifests.error().message, exit_code::usage};
    for (const auto& m : *manifests) {
      const auto* kind = kind_named(m.api_version, m.kind);
      if (kind == nullptr) {
        notes_.push_back(m.where + ": " + m.kind + " " + m.name + " (" + m.api_version +
                         ") isn't endstate's and is left out: kubectl diff tells of it");
        continue;
      }
      if (const auto field = unknown_field(m.json, *kind->type); !field.empty())
        return Stop{m.where + ": " + m.kind + " " + m.name + ": there is no field " + field + "; kubectl explain " +
                        std::string(kind->resource->plural) + " lists them",
                    exit_code::usage};
      if (!m.name_space.empty() && !kind->resource->namespaced)
        return Stop{m.where + ": a " + m.kind + " has no namespace", exit_code::usage};
      if (auto stop = take(m, *kind)) return stop;
    }
    return std::nullopt;
  }

  std::optional<Stop> take(const Manifest& m, const Kind& kind) {
    Wanted w{.kind = &kind,
             .name_space = kind.resource->namespaced ? (m.name_space.empty() ? s_.name_space : m.name_space) : "",
             .name = m.name};
    auto live = get(w);
    if (!live && live.error().code != Code::not_found) return Stop{m.where + ": " + live.error().message, exit_code::server};
    const std::string manifest = kind.resource->namespaced ? with_namespace(m.json, w.name_space) : m.json;
    if (live) w.before = std::move(*live);
    const auto patch = w.before.empty() ? std::string() : apply_patch(annotation_of(w.before, last_applied), manifest, w.before);
    w.after = w.before.empty() ? manifest : merged(w.before, patch);
    if (w.before.empty() || patch != "{}" || args_.server_side) {
      reconcile::Call call{.verb = args_.server_side  ? reconcile::Verb::apply
                                   : w.before.empty() ? reconcile::Verb::create
                                                      : reconcile::Verb::merge_patch,
                           .body = args_.server_side || w.before.empty() ? manifest : patch};
      if (auto stop = rehearse(w, std::move(call), m.where)) return stop;
    }
    return add(std::move(w));
  }

  // Back to a revision: its template in the place of the set's.
  std::optional<Stop> take_revision() {
    Wanted w{.kind = &reconcile::kind_of<api::MachineSet>, .name_space = s_.name_space, .name = args_.target->name};
    auto live = get(w);
    if (!live) return Stop{live.error().message, exit_code::server};
    w.before = std::move(*live);
    const auto set = s_.client.read<api::MachineSet>(w.before);
    if (!set) return Stop{set.error().message, exit_code::server};
    auto objects = World(s_.client, {}).revisions(**set);
    if (!objects) return Stop{objects.error().message, exit_code::server};
    const auto revisions = recorded(**set, *objects);
    const auto to = undo_target(**set, revisions, args_.to_revision);
    if (!to) return Stop{to.error().message, exit_code::usage};
    w.after = with_template(w.before, (*to)->template_);
    const std::string body = "[{\"op\":\"replace\",\"path\":\"/spec/template\",\"value\":" + (*to)->template_ + "}]";
    if (auto stop = rehearse(w, {.verb = reconcile::Verb::json_patch, .body = body}, "machineset/" + w.name)) return stop;
    return add(std::move(w));
  }

  Result<std::string> get(const Wanted& w) {
    return s_.client.send({.verb = reconcile::Verb::get, .resource = w.kind->resource, .name_space = w.name_space, .name = w.name});
  }

  // The API server looks at it as if it were sent, and stores nothing. Without the right to write, our own merge must do.
  std::optional<Stop> rehearse(Wanted& w, reconcile::Call call, const std::string& where) {
    call.resource = w.kind->resource;
    call.name_space = w.name_space;
    if (call.verb != reconcile::Verb::create) call.name = w.name;
    call.query = reconcile::encode_query({{"dryRun", "All"},
                                          {"fieldManager", field_manager},
                                          {"fieldValidation", "Strict"},
                                          {"force", call.verb == reconcile::Verb::apply ? "true" : ""}});
    auto reply = s_.client.send(std::move(call));
    if (reply) {
      w.after = std::move(*reply);
      return std::nullopt;
    }
    if (reply.error().code != Code::forbidden)
      return Stop{where + ": the API server would refuse it: " + reply.error().message, exit_code::server};
    notes_.push_back("you have no right to write " + w.title() + ": whether the API server would take it was not checked");
    return std::nullopt;
  }

  std::optional<Stop> add(Wanted w) {
    const auto twice = std::find_if(wanted_.begin(), wanted_.end(),
                                    [&](const Wanted& o) { return o.kind == w.kind && o.name == w.name && o.name_space == w.name_space; });
    if (twice != wanted_.end()) return Stop{w.title() + " stands in the files twice", exit_code::usage};
    if (!w.before.empty()) w.changes = changes_between(w.before, w.after);
    wanted_.push_back(std::move(w));
    return std::nullopt;
  }

  // Null: it isn't in the files.
  const Wanted* find_set(const reconcile::Key& key) const {
    for (const auto& w : wanted_)
      if (w.kind == &reconcile::kind_of<api::MachineSet> && key.name == w.name && key.name_space == w.name_space) return &w;
    return nullptr;
  }

  // ---- what would happen ----

  template <class T>
  Result<std::vector<Ref<T>>> of_kind() {
    std::vector<Ref<T>> out;
    for (const auto& w : wanted_) {
      if (w.kind != &reconcile::kind_of<T>) continue;
      auto object = s_.client.read<T>(w.after);
      if (!object) return reconcile::fail(Code::invalid, w.title() + ": " + object.error().message);
      out.push_back(std::move(*object));
    }
    return out;
  }

  std::optional<Error> play() {
    auto budgets = of_kind<api::ChangeBudget>();
    auto packages = of_kind<api::MachinePackageVersion>();
    auto clusters = of_kind<api::Cluster>();
    auto sources = of_kind<api::MetricSource>();
    auto sets = of_kind<api::MachineSet>();
    for (const Error* e : {budgets ? nullptr : &budgets.error(), packages ? nullptr : &packages.error(),
                           clusters ? nullptr : &clusters.error(), sources ? nullptr : &sources.error(), sets ? nullptr : &sets.error()})
      if (e != nullptr) return *e;
    if (sets->empty() && !budgets->empty()) *sets = under_way();
    World world(s_.client, {std::move(*budgets), std::move(*packages), std::move(*clusters), std::move(*sources)});
    for (const auto& set : in_order(std::move(*sets)))
      if (auto error = play(world, set)) return error;
    notes_.insert(notes_.end(), world.notes().begin(), world.notes().end());
    return std::nullopt;
  }

  // Budgets alone: what they do to the rollouts of the namespace that are under way.
  std::vector<Ref<api::MachineSet>> under_way() {
    auto all = s_.client.list<api::MachineSet>(s_.name_space);
    if (!all) {
      notes_.push_back("machinesets can't be listed (" + all.error().message +
                       "): what the budget does to rollouts that are under way is not told");
      return {};
    }
    std::erase_if(*all, [](const Ref<api::MachineSet>& set) {
      const auto& rollout = set->status.rollout;
      return !rollout || rollout->phase == api::RolloutPhase::complete || rollout->phase == api::RolloutPhase::rolled_back;
    });
    return std::move(*all);
  }

  // A set that another one of the files goes before comes after it. Rings come as they stand: their plans wait for ever, and say so.
  static std::vector<Ref<api::MachineSet>> in_order(std::vector<Ref<api::MachineSet>> sets) {
    std::vector<Ref<api::MachineSet>> out;
    while (!sets.empty()) {
      const auto ready = std::find_if(sets.begin(), sets.end(), [&](const auto& s) {
        const auto& after = s->spec.rollout.after;
        return !after || std::none_of(sets.begin(), sets.end(), [&](const auto& o) {
          return o->metadata.key() == reconcile::Key{s->metadata.name_space, after->name} && o != s;
        });
      });
      const auto next = ready == sets.end() ? sets.begin() : ready;
      out.push_back(*next);
      sets.erase(next);
    }
    return out;
  }

  std::optional<Error> play(World& world, const Ref<api::MachineSet>& set) {
    const auto* w = find_set(set->metadata.key());
    auto in = world.input(set, w == nullptr || !w->before.empty());
    if (!in) return in.error();
    in->machine_time = args_.machine_time;
    seconds offset{0};
    if (const auto& after = set->spec.rollout.after)
      if (const auto it = done_.find({set->metadata.name_space, after->name}); it != done_.end()) {
        in->after = it->second.set;
        offset = it->second.at;
        in->now += offset;
      }
    auto told = machine_set::preview(*in);
    // As it is when all of it has happened: for those that wait for it.
    auto finished = std::make_shared<api::MachineSet>(*set);
    finished->status.rollout = api::RolloutStatus{};
    finished->status.rollout->phase = api::RolloutPhase::complete;
    finished->status.current_revision = finished->status.update_revision = told.to;
    finished->status.observed_generation = finished->metadata.generation;
    if (told.end == machine_set::PreviewEnd::complete || told.end == machine_set::PreviewEnd::nothing)
      done_[set->metadata.key()] = {finished, offset + told.duration};
    previews_.push_back({offset, std::move(told)});
    return std::nullopt;
  }

  // ---- what is said ----

  void say() const {
    if (args_.output == "json") return say_json();
    for (const auto& w : wanted_) {
      if (!w.before.empty() && w.changes.empty()) continue;
      s_.out << w.title() << (w.before.empty() ? " would be created" : " would change") << "\n";
      for (const auto& c : w.changes) {
        s_.out << (c.before.empty() ? "  + " : c.after.empty() ? "  - " : "  ~ ") << c.path << ": ";
        if (!c.before.empty() && !c.after.empty())
          s_.out << plain(c.before) << " -> " << plain(c.after) << "\n";
        else
          s_.out << plain(c.before + c.after) << "\n";
      }
    }
    for (const auto& p : previews_) {
      const auto* w = find_set({p.told.name_space, p.told.set});
      const bool still = (w == nullptr || (!w->before.empty() && w->changes.empty())) && p.told.end == machine_set::PreviewEnd::nothing;
      if (!still) s_.out << "\n" << preview_text(p.told, args_.all, p.offset);
    }
    for (const auto& n : notes_) s_.err << "note: " << plain(n) << "\n";
  }

  void say_json() const {
    std::string out = "{\"objects\":[";
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      const auto& w = wanted_[i];
      out += std::string(i ? "," : "") + "{\"kind\":" + reconcile::quote(w.kind->resource->kind) +
             ",\"namespace\":" + reconcile::quote(w.name_space) + ",\"name\":" + reconcile::quote(w.name) +
             ",\"created\":" + (w.before.empty() ? "true" : "false") + ",\"changes\":[";
      for (std::size_t c = 0; c < w.changes.size(); ++c)
        out += std::string(c ? "," : "") + "{\"path\":" + reconcile::quote(w.changes[c].path) +
               ",\"before\":" + reconcile::quote(w.changes[c].before) + ",\"after\":" + reconcile::quote(w.changes[c].after) + "}";
      out += "]}";
    }
    out += "],\"previews\":[";
    for (std::size_t i = 0; i < previews_.size(); ++i) {
      auto told = previews_[i].told;
      for (auto& step : told.steps) {
        step.begin += previews_[i].offset;
        step.machines_done += previews_[i].offset;
        step.end += previews_[i].offset;
        for (auto& l : step.limits) l.first += previews_[i].offset;
      }
      out += (i ? "," : "") + reconcile::encode(told);
    }
    out += "],\"notes\":[";
    for (std::size_t i = 0; i < notes_.size(); ++i) out += (i ? "," : "") + reconcile::quote(notes_[i]);
    s_.out << out << "]}\n";
  }

  struct Played {
    seconds offset;
    machine_set::Preview told;
  };
  struct Done {
    Ref<api::MachineSet> set;
    seconds at;
  };
  const Session& s_;
  const DiffArgs& args_;
  std::vector<Wanted> wanted_;
  std::vector<Played> previews_;
  std::map<reconcile::Key, Done> done_;
  std::vector<std::string> notes_;
};

}  // namespace

int run_diff(const Session& session, const DiffArgs& args, std::istream& standard_input) {
  return Differ(session, args).run(standard_input);
}

}  // namespace endstate::kubectl
