// A toy that shows a loop whole, and that the runtime's own tests run: a Widget wants some Parts. It creates what is missing, deletes what
// is too many (asking the guard), and tells in its status how many there are.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "reconcile/json/encode.hpp"
#include "reconcile/kube/kind.hpp"
#include "reconcile/run/guard.hpp"
#include "reconcile/run/loop.hpp"
#include "reconcile/sim/sim_api.hpp"

namespace reconcile::toy {

struct WidgetSpec {
  std::optional<std::int64_t> parts;
  Text color;
  friend bool operator==(const WidgetSpec&, const WidgetSpec&) = default;
};
consteval auto describe(const WidgetSpec*) {
  return object("What is wanted.", field<&WidgetSpec::parts>("parts", "How many parts."),
                field<&WidgetSpec::color>("color", "Their color."));
}
struct WidgetStatus {
  std::int64_t parts = 0;
  Text blocked_by;
  friend bool operator==(const WidgetStatus&, const WidgetStatus&) = default;
};
consteval auto describe(const WidgetStatus*) {
  return object("What there is.", field<&WidgetStatus::parts>("parts", "How many parts there are."),
                field<&WidgetStatus::blocked_by>("blockedBy", "Who refuses the next change."));
}
struct Widget {
  ObjectMeta metadata;
  WidgetSpec spec;
  WidgetStatus status;
};
consteval auto describe(const Widget*) {
  return object("A widget.", field<&Widget::metadata>("metadata", "Metadata."), field<&Widget::spec>("spec", "What is wanted."),
                field<&Widget::status>("status", "What there is."));
}
constexpr Resource resource(const Widget*) { return {"toy.dev", "v1", "widgets", "Widget", true}; }

struct Part {
  ObjectMeta metadata;
  WidgetSpec spec;  // its color
};
consteval auto describe(const Part*) {
  return object("A part.", field<&Part::metadata>("metadata", "Metadata."), field<&Part::spec>("spec", "What it is."));
}
constexpr Resource resource(const Part*) { return {"toy.dev", "v1", "parts", "Part", true}; }

inline constexpr Index parts_by_owner = index<Part>("owner", [](const Part& p, auto& emit) {
  if (const auto* owner = p.metadata.controller()) emit(owner->uid.view());
});

class WidgetLoop : public Loop {
 public:
  std::string_view name() const override { return "widget_maker"; }
  const Kind& kind() const override { return kind_of<Widget>; }
  std::vector<Source> sources() const override {
    return {{.kind = &kind_of<Widget>,
             .keys =
                 [](const View&, std::string_view, const void* before, const void* after, const std::function<void(Key)>& enqueue) {
                   enqueue(static_cast<const Widget*>(after ? after : before)->metadata.key());
                 }},
            {.kind = &kind_of<Part>,
             .keys = [](const View&, std::string_view, const void* before, const void* after, const std::function<void(Key)>& enqueue) {
               const auto& part = *static_cast<const Part*>(after ? after : before);
               if (const auto* owner = part.metadata.controller()) enqueue({part.metadata.name_space, owner->name});
             }}};
  }
  std::function<Plan()> observe(const Snapshot& s, const Key& key) const override {
    auto widget = s.view.get<Widget>("", key.name_space, key.name);
    if (!widget) return nullptr;
    auto parts = s.view.by_index<Part>("", parts_by_owner, widget->metadata.uid);
    return [widget, parts, refused = s.memory.refused] { return plan(*widget, parts, refused); };
  }
  static Plan plan(const Widget& w, const std::vector<Ref<Part>>& parts, const std::optional<Refused>& refused) {
    Plan out;
    const auto wanted = static_cast<std::size_t>(w.spec.parts.value_or(1));
    std::set<std::string> have;
    for (const auto& p : parts) have.insert(p->metadata.name.str());
    for (std::size_t i = 0; i < wanted; ++i) {
      const auto part = w.metadata.name.str() + "-" + std::to_string(i);
      if (!have.contains(part)) out.actions.push_back(create(w, part));
    }
    for (const auto& p : parts) {
      if (index_of(*p) >= wanted && !p->metadata.deleting()) {
        out.permit = PermitRequest{.cluster = {w.metadata.name_space, "toys"},
                                   .operation = "PartDelete",
                                   .subject = w.metadata.key(),
                                   .subject_uid = w.metadata.uid,
                                   .revision = p->metadata.name};
        out.actions.push_back({.verb = Verb::remove,
                               .kind = &kind_of<Part>,
                               .name_space = p->metadata.name_space,
                               .name = p->metadata.name,
                               .uid = p->metadata.uid,
                               .guarded = true,
                               .why = "too many"});
        break;  // one at a time
      }
      if (!(p->spec.color == w.spec.color))
        out.actions.push_back({.verb = Verb::merge_patch,
                               .kind = &kind_of<Part>,
                               .name_space = p->metadata.name_space,
                               .name = p->metadata.name,
                               .body = "{\"spec\":{\"color\":" + quote(w.spec.color) + "}}",
                               .uid = p->metadata.uid,
                               .resource_version = p->metadata.resource_version,
                               .why = "another color"});
    }
    WidgetStatus status{static_cast<std::int64_t>(parts.size()), refused ? refused->name : Text()};
    out.status = StatusWrite{.kind = &kind_of<Widget>,
                             .key = w.metadata.key(),
                             .uid = w.metadata.uid,
                             .resource_version = w.metadata.resource_version,
                             .status = encode(status),
                             .changed = status != w.status};
    if (out.actions.empty() && status != w.status)
      out.events.push_back({.reason = "Complete", .action = "Count", .note = "all parts are there"});
    return out;
  }

 private:
  static std::size_t index_of(const Part& p) { return std::stoul(p.metadata.name.str().substr(p.metadata.name.view().rfind('-') + 1)); }
  static Action create(const Widget& w, const std::string& name) {
    Part part;
    part.metadata.name = name;
    part.metadata.name_space = w.metadata.name_space;
    part.metadata.owner_references = {{"toy.dev/v1", "Widget", w.metadata.name, w.metadata.uid, true, true}};
    part.spec.color = w.spec.color;
    return {.verb = Verb::create,
            .kind = &kind_of<Part>,
            .name_space = w.metadata.name_space,
            .name = name,
            .body = encode_object("toy.dev/v1", "Part", type_of<Part>, &part),
            .tolerate_exists = true,
            .why = "a part is missing"};
  }
};

// A guard that a test can close.
class ToyGuard final : public Guard {
 public:
  explicit ToyGuard(SimEnv& env) : env_(env) {}
  bool open = true;
  int asked = 0;
  void ask(std::vector<PermitRequest> requests, std::function<void(Result<std::vector<Verdict>>)> answer) override {
    handles_.push_back(
        env_.at(env_.now().mono + std::chrono::milliseconds(20), [this, requests = std::move(requests), answer = std::move(answer)] {
          std::vector<Verdict> out;
          for (const auto& r : requests) {
            ++asked;
            if (open)
              out.push_back(Granted{r.id()});
            else
              out.push_back(Refused{"ToyBudget", "night", "Closed", "not at night", std::chrono::milliseconds(2'000)});
          }
          answer(std::move(out));
        }));
    if (handles_.size() > 64) handles_.erase(handles_.begin());
  }

 private:
  SimEnv& env_;
  std::vector<Handle> handles_;
};

}  // namespace reconcile::toy
