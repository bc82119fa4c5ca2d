#include "reconcile/run/facts.hpp"

#include <algorithm>

namespace reconcile {
namespace {

using namespace std::chrono_literals;

// A younger answer is always used again: else a plan that wants none older than 0 would ask for ever.
constexpr auto shortest_age = 500ms;
constexpr auto query_timeout = 15s;

struct Asking {
  std::vector<Handle> calls;
  Handle timer;
  std::size_t open = 0;
  std::function<void()> done;
};

struct Reading {  // one answer
  bool list = false, too_big = false, first = true;
  std::string body;
};

void read_frame(Reading& r, std::string_view frame) {
  if (r.too_big || r.body.size() + frame.size() > max_fact) {
    r.too_big = true;
    std::string().swap(r.body);
    return;
  }
  if (!r.list) {
    r.body.assign(frame);
    return;
  }
  // The list's own metadata is the last frame: {"metadata":{...}}, without a name.
  const bool last = frame.starts_with("{\"metadata\":{") && frame.find("\"name\"") == std::string_view::npos;
  if (last) {
    r.body.append("],").append(frame.substr(1));
    return;
  }
  if (!r.first) r.body += ',';
  r.first = false;
  r.body.append(frame);
}

}  // namespace

Handle ask_facts(Env& env, const std::vector<Query>& queries, std::map<std::string, Fact, std::less<>>& facts, std::function<void()> done) {
  const auto asked_for = std::min(queries.size(), max_queries);
  std::erase_if(facts, [&](const auto& f) {
    return std::none_of(queries.begin(), queries.begin() + static_cast<std::ptrdiff_t>(asked_for),
                        [&](const Query& q) { return q.id == f.first; });
  });
  const auto now = env.now().mono;
  auto asking = std::make_shared<Asking>();
  asking->done = std::move(done);
  for (std::size_t i = 0; i < asked_for; ++i) {
    const Query& q = queries[i];
    if (const auto it = facts.find(q.id);
        it != facts.end() && now - it->second.at < std::max<std::chrono::nanoseconds>(q.max_age, shortest_age))
      continue;
    Call call{.cluster = q.cluster, .resource = q.resource, .name_space = q.name_space, .name = q.name, .query = q.query, .path = q.path};
    call.verb = q.resource && q.name.empty() ? Verb::list : Verb::get;
    call.timeout = query_timeout;
    auto reading = std::make_shared<Reading>();
    reading->list = call.verb == Verb::list;
    if (reading->list) reading->body = "{\"items\":[";
    ++asking->open;
    asking->calls.push_back(env.call(
        std::move(call), [reading](std::string_view frame) { read_frame(*reading, frame); },
        [&env, &facts, reading, id = q.id, weak = std::weak_ptr(asking)](Result<void> end) {
          const auto held = weak.lock();
          if (!held) return;
          Result<std::string> body = std::move(reading->body);
          if (!end)
            body = fail(std::move(end.error()));
          else if (reading->too_big)
            body = fail(Code::invalid, "the answer is longer than 4 MiB");
          facts[id] = {env.now().mono, std::move(body)};
          if (--held->open == 0) held->done();
        }));
  }
  return asking->open > 0 ? Handle(asking) : nullptr;
}

}  // namespace reconcile
