#include "reconcile/run/list_items.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "reconcile/cache/record_size.hpp"
#include "reconcile/json/decode.hpp"
#include "reconcile/kube/url.hpp"

namespace reconcile {
namespace {

using namespace std::chrono_literals;

constexpr auto page_timeout = 15s;
constexpr auto list_timeout = 60s;  // of all pages
constexpr int max_restarts = 1;     // of a list whose continue token has become too old

struct End {
  Text resource_version, continue_;
};
consteval auto describe(const End*) {
  return object("A list's own metadata.", field<&End::resource_version>("resourceVersion", "Its version."),
                field<&End::continue_>("continue", "What brings the next page."));
}
struct ListEnd {
  End metadata;
};
consteval auto describe(const ListEnd*) {
  return object("A list without its items.", field<&ListEnd::metadata>("metadata", "Its metadata."));
}

struct Listing : std::enable_shared_from_this<Listing> {
  Env& env;
  Pool& pool;
  Query query;
  std::function<void(Result<Items>)> done;
  MonoTime deadline;
  Items items{};
  std::size_t bytes = 0;
  std::string next{};  // the continue token; empty: this page is the last
  Error trouble{};     // of what was received
  bool broken = false;
  int pages = 0, restarts = 0;
  Handle call{};

  Listing(Env& e, Pool& p, Query q, std::function<void(Result<Items>)> d)
      : env(e), pool(p), query(std::move(q)), done(std::move(d)), deadline(e.now().mono + list_timeout) {}

  bool whole() const { return ("&" + query.query + "&").find("&resourceVersion=0&") != std::string::npos; }

  void ask() {
    ++pages;
    Call c{.cluster = query.cluster, .verb = Verb::list, .resource = query.resource, .name_space = query.name_space, .query = query.query};
    const auto add = [&c](std::string_view more) { c.query.append(c.query.empty() ? "" : "&").append(more); };
    if (!whole()) add("limit=500");
    if (!next.empty()) add("continue=" + percent_encode(next));
    c.timeout = std::min<std::chrono::milliseconds>(page_timeout, std::chrono::ceil<std::chrono::milliseconds>(deadline - env.now().mono));
    next.clear();
    const auto weak = weak_from_this();
    call = env.call(
        std::move(c),
        [weak](std::string_view frame) {
          if (const auto self = weak.lock()) self->take(frame);
        },
        [weak](Result<void> end) {
          if (const auto self = weak.lock()) self->on_end(std::move(end));
        });
  }

  void take(std::string_view frame) {
    if (broken) return;
    // The last frame is the list's own metadata: of that an object has a name more.
    if (frame.starts_with("{\"metadata\":{") && frame.find("\"name\"") == std::string_view::npos) {
      if (const auto end = decode<ListEnd>(frame, pool)) next = end->metadata.continue_.str();
      return;
    }
    auto object = query.items->make();
    if (auto read = decode(frame, *query.items->type, object.get(), pool, UnknownWords::kept); !read)
      return refuse("an item can't be read: " + read.error().message);
    bytes += record_size(*query.items->type, object.get());
    items.push_back(std::move(object));
    if (items.size() > max_items) return refuse("more than " + std::to_string(max_items) + " items");
    if (bytes > max_item_bytes) return refuse("more than " + std::to_string(max_item_bytes >> 20) + " MiB of items");
  }
  // The rest isn't waited for: it may have no end. Ended a moment later, for a call may not be dropped by its own frame.
  void refuse(std::string why) {
    broken = true;
    trouble = {Code::invalid, "list " + std::string(query.resource->plural) + ": " + std::move(why), {}, {}};
    Items().swap(items);
    stop = env.at(env.now().mono, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->finish(fail(self->trouble));
    });
  }
  void on_end(Result<void> end) {
    if (broken) return;
    if (!end && end.error().code == Code::gone && pages > 1 && restarts < max_restarts) {
      ++restarts;
      Items().swap(items);
      bytes = 0;
      next.clear();
      return ask();
    }
    if (!end) return finish(fail(std::move(end.error())));
    if (next.empty()) return finish(std::move(items));
    if (pages >= max_pages || env.now().mono >= deadline)
      return finish(fail(Code::unavailable,
                         "list " + std::string(query.resource->plural) + ": not complete after " + std::to_string(pages) + " pages"));
    ask();
  }
  void finish(Result<Items> result) {
    call.reset();
    stop.reset();
    if (result) result->shrink_to_fit();
    if (auto tell = std::exchange(done, nullptr)) tell(std::move(result));
  }
  Handle stop{};
};

}  // namespace

Handle list_items(Env& env, Pool& pool, const Query& query, std::function<void(Result<Items>)> done) {
  const auto listing = std::make_shared<Listing>(env, pool, query, std::move(done));
  listing->ask();
  return listing;
}

}  // namespace reconcile
