#include "reconcile/run/facts.hpp"

#include <algorithm>
#include <utility>

#include "reconcile/run/list_items.hpp"
#include "reconcile/run/reference.hpp"
#include "reconcile/run/review.hpp"

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

// What is asked at all.
std::vector<const Query*> within_bounds(const std::vector<Query>& queries) {
  std::vector<const Query*> out;
  std::size_t lists = 0;
  for (const auto& q : queries) {
    const bool list = !q.http && q.resource && q.name.empty() && q.body.empty();
    if (out.size() < max_queries && (!list || lists++ < max_lists)) out.push_back(&q);
  }
  return out;
}
bool is_young(const Facts& facts, const Query& q, MonoTime now) {
  const auto it = facts.find(q.id);
  return it != facts.end() && now - it->second.at < std::max<std::chrono::nanoseconds>(q.max_age, shortest_age);
}

std::size_t question_of(const HttpQuery& q) {
  std::string text = q.method + " " + q.url;
  for (const auto* ref : {&q.bearer_token, &q.ca})
    text.append(*ref ? "\n" + (*ref)->name_space + "/" + (*ref)->name + "/" + (*ref)->key : "\n-");
  return std::hash<std::string>{}(text);
}

// One HTTP exchange: its references first, then the call. Each stage holds the handle of the one that runs.
struct Exchange {
  Env& env;
  HttpQuery query;
  std::function<void(Result<HttpAnswer>)> end;
  HttpCall call{};
  Handle running{};

  void need_token() {
    if (!query.bearer_token) return need_ca();
    running = read_secret_key(env, *query.bearer_token, [this](Result<std::string> token) {
      const auto held = std::exchange(running, nullptr);
      if (!token) return end(fail(std::move(token.error())));
      call.bearer_token = std::move(*token);
      need_ca();
    });
  }
  void need_ca() {
    if (!query.ca) return send();
    running = read_config_key(env, *query.ca, [this](Result<std::string> pem) {
      const auto held = std::exchange(running, nullptr);
      if (!pem) return end(fail(std::move(pem.error())));
      call.ca_pem = std::move(*pem);
      send();
    });
  }
  void send() {
    call.method = query.method;
    call.url = query.url;
    call.timeout = query.timeout;
    call.max_bytes = query.max_bytes;
    running = env.http(std::move(call), end);
  }
};

Handle ask(Env& env, const HttpQuery& query, std::function<void(Result<HttpAnswer>)> end) {
  auto exchange = std::make_shared<Exchange>(Exchange{env, query, std::move(end)});
  exchange->need_token();
  return exchange;
}

// A GET, a list as text, or what a review answers.
Handle read_text(Env& env, const Query& q, std::function<void(Result<std::string>)> done) {
  Call call{.cluster = q.cluster, .resource = q.resource, .name_space = q.name_space, .name = q.name, .query = q.query, .path = q.path};
  call.verb = q.resource && q.name.empty() ? Verb::list : Verb::get;
  if (!q.body.empty()) call = rules_review_call(q.cluster, q.body);
  call.timeout = query_timeout;
  auto reading = std::make_shared<Reading>();
  reading->list = call.verb == Verb::list;
  if (reading->list) reading->body = "{\"items\":[";
  return env.call(
      std::move(call), [reading](std::string_view frame) { read_frame(*reading, frame); },
      [reading, done = std::move(done)](Result<void> end) {
        if (!end) return done(fail(std::move(end.error())));
        if (reading->too_big) return done(fail(Code::invalid, "the answer is longer than 4 MiB"));
        done(std::move(reading->body));
      });
}

}  // namespace

Handle ask_facts(Env& env, Pool& pool, const std::vector<Query>& queries, Facts& facts, std::function<void()> done) {
  const auto asked_for = within_bounds(queries);
  std::erase_if(facts, [&](const auto& f) {
    return std::none_of(asked_for.begin(), asked_for.end(), [&](const Query* q) { return q->id == f.first; });
  });
  const auto now = env.now().mono;
  auto asking = std::make_shared<Asking>();
  asking->done = std::move(done);
  for (const auto* q : asked_for) {
    if (q->http || is_young(facts, *q, now)) continue;
    ++asking->open;
    const auto answered = [&env, &facts, id = q->id, weak = std::weak_ptr(asking)](Fact fact) {
      const auto held = weak.lock();
      if (!held) return;
      const auto at = env.now();
      fact.at = at.mono;
      fact.time = at.wall;
      facts[id] = std::move(fact);
      if (--held->open == 0) held->done();
    };
    if (q->items && q->resource && q->name.empty())
      asking->calls.push_back(list_items(env, pool, *q, [answered](Result<Items> items) {
        if (items)
          answered({.items = std::move(*items)});
        else
          answered({.body = fail(std::move(items.error()))});
      }));
    else
      asking->calls.push_back(read_text(env, *q, [answered](Result<std::string> body) { answered({.body = std::move(body)}); }));
  }
  return asking->open > 0 ? Handle(asking) : nullptr;
}

void ask_http(Env& env, const std::vector<Query>& queries, Facts& facts, Inquiries& asking, const std::function<void()>& answered) {
  auto asked_for = within_bounds(queries);
  std::erase_if(asked_for, [](const Query* q) { return !q->http; });
  std::erase_if(asking, [&](const auto& a) {
    return std::none_of(asked_for.begin(), asked_for.end(), [&](const Query* q) { return q->id == a.first; });
  });
  const auto now = env.now().mono;
  for (const auto* q : asked_for) {
    const auto question = question_of(*q->http);
    if (const auto it = facts.find(q->id); it != facts.end() && it->second.question != question) facts.erase(it);
    if (is_young(facts, *q, now)) continue;
    auto& inquiry = asking[q->id];
    if (inquiry.handle && inquiry.question == question) continue;
    inquiry = {question, ask(env, *q->http, [&env, &facts, &asking, id = q->id, question, answered](Result<HttpAnswer> answer) {
                 const auto held = asking.extract(id);  // what runs here is part of it
                 const auto at = env.now();
                 auto& fact = facts[id] = {.at = at.mono, .time = at.wall, .question = question};
                 if (answer) {
                   fact.status = answer->status;
                   fact.body = std::move(answer->body);
                 } else {
                   fact.body = fail(std::move(answer.error()));
                 }
                 answered();
               })};
  }
}

}  // namespace reconcile
