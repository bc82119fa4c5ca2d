#include "reconcile/cache/store.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "reconcile/cache/equal.hpp"
#include "reconcile/sim/toy.hpp"

using namespace reconcile;
using namespace std::chrono_literals;
using toy::Widget;

namespace {

Ref<void> make(const std::string& name, const std::string& uid, int version, const std::string& color = "red",
               const std::string& ns = "ns") {
  auto w = std::make_shared<Widget>();
  w->metadata.name = name;
  w->metadata.name_space = ns;
  w->metadata.uid = uid;
  w->metadata.resource_version = std::to_string(version);
  w->spec.color = color;
  return w;
}
const Widget& as_widget(const Ref<void>& o) { return *static_cast<const Widget*>(o.get()); }

constexpr Index by_color = index<Widget>("color", [](const Widget& w, auto& emit) {
  if (!w.spec.color.empty()) emit(w.spec.color.view());
});

struct Fixture {
  Pool pool;
  std::vector<std::string> heard;
  Store store{kind_of<Widget>, pool, [this](const Ref<void>& before, const Ref<void>& after) {
                heard.push_back((before ? "-" + as_widget(before).metadata.name.str() + as_widget(before).metadata.uid.str() : "") +
                                (after ? "+" + as_widget(after).metadata.name.str() + as_widget(after).metadata.uid.str() : ""));
              }};
  std::vector<std::string> take() { return std::exchange(heard, {}); }
  std::string names(const std::vector<Ref<void>>& all) const {
    std::string out;
    for (const auto& o : all) out += as_widget(o).metadata.name.str();
    return out;
  }
};
using Heard = std::vector<std::string>;
constexpr MonoTime t0{1h};

}  // namespace

TEST_CASE("store: adds, updates and deletes are told; what changed nothing is kept and not told") {
  Fixture f;
  f.store.put(make("b", "1", 10), t0);
  f.store.put(make("a", "1", 11), t0);
  CHECK(f.take() == Heard{"+b1", "+a1"});
  CHECK(f.names(f.store.list({})) == "ab");

  f.store.put(make("a", "1", 12), t0 + 1s);  // only its version
  CHECK(f.take().empty());
  CHECK(as_widget(f.store.get("ns", "a")).metadata.resource_version == "12");
  CHECK(f.store.seen("ns", "a") == t0 + 1s);

  f.store.put(make("a", "1", 12, "blue"), t0 + 2s);  // seen already
  CHECK(f.take().empty());
  CHECK(f.store.seen("ns", "a") == t0 + 1s);

  f.store.put(make("a", "1", 13, "blue"), t0 + 3s);
  CHECK(f.take() == Heard{"-a1+a1"});
  f.store.put(make("a", "2", 14, "blue"), t0 + 4s);
  CHECK(f.take() == Heard{"-a1", "+a2"});

  f.store.remove("ns", "none");
  f.store.remove("ns", "a");
  CHECK(f.take() == Heard{"-a2"});
  CHECK(f.store.get("ns", "a") == nullptr);
  CHECK(f.store.seen("ns", "a") == MonoTime::min());
}

TEST_CASE("store: lists are of one namespace or of all, by key") {
  Fixture f;
  for (const char* ns : {"b", "a", "ab"})
    for (const char* n : {"y", "x"}) f.store.put(make(n, "1", 1, "red", ns), t0);
  CHECK(f.store.list({}).size() == 6);
  CHECK(f.names(f.store.list("a")) == "xy");
  CHECK(f.store.list("c").empty());
  CHECK(as_widget(f.store.list({})[2]).metadata.name_space == "ab");
}

TEST_CASE("store: a new state is in place before anybody hears of it, and its deletes come last") {
  Fixture f;
  f.store.put(make("a", "1", 1), t0);
  f.store.put(make("b", "1", 2), t0);
  f.store.put(make("c", "1", 3), t0);
  f.store.put(make("d", "1", 4), t0);
  f.take();
  const auto kept = f.store.get("ns", "b");
  Store::Batch batch(f.store);
  batch.add(make("d", "2", 9), t0 + 1s);       // another uid
  batch.add(make("c", "1", 8, "x"), t0 + 1s);  // changed
  batch.add(make("b", "1", 2), t0 + 1s);       // the same
  batch.add(make("0", "1", 7), t0 + 1s);       // new
  f.store.replace(std::move(batch));
  CHECK(f.take() == Heard{"+01", "-c1+c1", "-d1", "+d2", "-a1"});
  CHECK(f.names(f.store.list({})) == "0bcd");
  CHECK(f.store.get("ns", "b") == kept);  // the record itself: a relist of what has not changed costs no memory
  CHECK(f.store.seen("ns", "b") == t0);
  CHECK(f.store.seen("ns", "c") == t0 + 1s);

  SECTION("a record that can't be read stays as it was") {
    Store::Batch again(f.store);
    again.keep({.key = {"ns", "b"}});
    again.keep({.key = {"ns", "never"}});
    f.store.replace(std::move(again));
    CHECK(f.names(f.store.list({})) == "b");
  }
  SECTION("of two with one key the later stands; what was erased is not there") {
    Store::Batch again(f.store);
    again.add(make("z", "1", 20, "one"), t0);
    again.add(make("b", "1", 2), t0);
    again.add(make("z", "1", 21, "two"), t0);
    again.add(make("y", "1", 22), t0);
    again.erase("ns", "y");
    f.store.replace(std::move(again));
    CHECK(f.names(f.store.list({})) == "bz");
    CHECK(as_widget(f.store.get("ns", "z")).spec.color == "two");
  }
  SECTION("another history's equal version is not the same object") {
    Store::Batch again(f.store, false);
    again.add(make("b", "1", 2, "other"), t0);
    f.take();
    f.store.replace(std::move(again));
    CHECK(f.take().front() == "-b1+b1");
    CHECK(as_widget(f.store.get("ns", "b")).spec.color == "other");
  }
}

TEST_CASE("store: handlers read the new state") {
  Pool pool;
  Store* self = nullptr;
  std::vector<std::size_t> sizes;
  Store store(kind_of<Widget>, pool, [&](const Ref<void>&, const Ref<void>&) { sizes.push_back(self->size()); });
  self = &store;
  Store::Batch batch(store);
  for (const char* n : {"a", "b", "c"}) batch.add(make(n, "1", 1), t0);
  store.replace(std::move(batch));
  CHECK(sizes == std::vector<std::size_t>{3, 3, 3});
}

// Against a map, with an index asked for at some moment: whatever happens, lookups agree.
TEST_CASE("store: indexes follow every change") {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937 rng(seed);
    Fixture f;
    std::map<std::string, std::string> model;  // name -> color
    int version = 0;
    const auto any = [&](int n) { return std::to_string(rng() % static_cast<unsigned>(n)); };
    for (int i = 0; i < 120; ++i) {
      const auto name = any(12), color = rng() % 5 ? any(3) : std::string();
      switch (rng() % 5) {
        case 0:
          f.store.remove("ns", name);
          model.erase(name);
          break;
        case 1:
          if (rng() % 6 == 0) {
            Store::Batch batch(f.store);
            model.clear();
            for (int k = 0; k < 6; ++k) {
              const auto n = any(12), c = any(3);
              batch.add(make(n, "1", ++version, c), t0);
              model[n] = c;
            }
            f.store.replace(std::move(batch));
          }
          break;
        default: f.store.put(make(name, any(2), ++version, color), t0); model[name] = color;
      }
      if (i < 20) continue;
      for (const char* c : {"0", "1", "2"}) {
        std::string expected;
        for (const auto& [n, has] : model)
          if (has == c) expected += n;
        REQUIRE(f.names(f.store.by_index(by_color, c)) == expected);
      }
      REQUIRE(f.store.size() == model.size());
    }
  }
}

TEST_CASE("equal: every field counts, but the one that is skipped") {
  Widget a, b;
  a.metadata.name = b.metadata.name = "w";
  a.metadata.labels = b.metadata.labels = {{"k", "v"}};
  a.metadata.resource_version = "1";
  b.metadata.resource_version = "2";
  CHECK_FALSE(equal(type_of<Widget>, &a, &b));
  CHECK(equal(type_of<Widget>, &a, &b, &a.metadata.resource_version));
  b.metadata.labels.set("k", "w");
  CHECK_FALSE(equal(type_of<Widget>, &a, &b, &a.metadata.resource_version));
  b.metadata.labels = a.metadata.labels;
  b.spec.parts = 0;  // present, if zero
  CHECK_FALSE(equal(type_of<Widget>, &a, &b, &a.metadata.resource_version));
  b.spec.parts.reset();
  b.metadata.finalizers = {"f"};
  CHECK_FALSE(equal(type_of<Widget>, &a, &b, &a.metadata.resource_version));
}

TEST_CASE("store: versions are numbers, or not known") {
  CHECK(version_number("18446744073709551615") == 18446744073709551615ULL);
  for (const char* odd : {"", "1a", "-1", "18446744073709551616", " 1"}) CHECK(version_number(odd) == 0);
}

TEST_CASE("store: what can't be read is known by name, and the record that was read last stands") {
  Fixture f;
  f.store.put(make("a", "1", 10), t0);
  f.store.put_unreadable({{"ns", "a"}, "1", 11, "{...}"});
  f.store.put_unreadable({{"ns", "b"}, "2", 12, "{...}"});
  CHECK(f.store.is_unreadable("ns", "a"));
  CHECK(f.store.unreadable().size() == 2);
  CHECK(f.names(f.store.list({})) == "a");
  CHECK(f.store.newest() == 12);
  f.store.put(make("a", "1", 13), t0);  // readable again
  f.store.remove("ns", "b", 14);
  CHECK(f.store.unreadable().empty());
  CHECK(f.store.newest() == 14);

  SECTION("a record of another uid is of an object that is gone") {
    f.take();
    f.store.put_unreadable({{"ns", "a"}, "9", 15, ""});
    CHECK(f.take() == Heard{"-a1"});
    CHECK(f.store.is_unreadable("ns", "a"));
  }
  SECTION("a new state has its own, and keeps the records of the same uid only") {
    f.store.put(make("c", "3", 16), t0);
    Store::Batch batch(f.store);
    batch.keep({{"ns", "a"}, "1", 20, ""});
    batch.keep({{"ns", "c"}, "4", 21, ""});
    batch.keep({{"ns", "d"}, "5", 22, ""});
    batch.add(make("d", "5", 23), t0);  // edited while the list was read
    f.store.replace(std::move(batch));
    CHECK(f.names(f.store.list({})) == "ad");
    CHECK(f.store.is_unreadable("ns", "a"));
    CHECK(f.store.is_unreadable("ns", "c"));
    CHECK(!f.store.is_unreadable("ns", "d"));
    CHECK(f.store.newest() == 23);
  }
  SECTION("their text has a bound") {
    const std::string big(max_unreadable_text / 2 + 1, 'x');
    f.store.put_unreadable({{"ns", "x"}, "7", 20, big});
    f.store.put_unreadable({{"ns", "y"}, "8", 21, big});
    CHECK(f.store.unreadable().at({"ns", "x"}).text.size() == big.size());
    CHECK(f.store.unreadable().at({"ns", "y"}).text.empty());
    f.store.remove("ns", "x");
    f.store.put_unreadable({{"ns", "y"}, "8", 22, big});
    CHECK(f.store.unreadable().at({"ns", "y"}).text.size() == big.size());
  }
}

TEST_CASE("store: the highest version of an object is no bookmark's, and falls only with another history") {
  Fixture f;
  CHECK(f.store.newest() == 0);
  f.store.put(make("a", "1", 10), t0);
  f.store.remove("ns", "a", 12);
  CHECK(f.store.newest() == 12);  // its end is an event that another's cache sees, too
  Store::Batch batch(f.store);
  batch.add(make("b", "2", 11), t0);
  f.store.replace(std::move(batch));
  CHECK(f.store.newest() == 12);
  Store::Batch restored(f.store, false);
  restored.add(make("b", "2", 5), t0);
  f.store.replace(std::move(restored), true);
  CHECK(f.store.newest() == 5);
}

TEST_CASE("store: the bytes of its records are counted, whatever comes and goes") {
  Fixture f;
  CHECK(f.store.bytes() == 0);
  f.store.put(make("a", "1", 10, std::string(1'000, 'x')), t0);
  const auto one = f.store.bytes();
  CHECK(one > 1'000);
  CHECK(one < 2'000);
  f.store.put(make("a", "1", 11, std::string(3'000, 'x')), t0);
  CHECK(f.store.bytes() == one + 2'000);
  Store::Batch batch(f.store);
  batch.add(make("a", "1", 11, std::string(3'000, 'x')), t0);
  CHECK(batch.bytes() == 0);  // shared
  batch.add(make("b", "2", 12, std::string(1'000, 'x')), t0);
  CHECK(batch.bytes() == one);
  f.store.replace(std::move(batch));
  CHECK(f.store.bytes() == 2 * one + 2'000);
  f.store.put(make("a", "3", 13, std::string(1'000, 'x')), t0);  // made again
  f.store.remove("ns", "b");
  CHECK(f.store.bytes() == one);
}
