#include "reconcile/json/encode.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "reconcile/json/decode.hpp"
#include "reconcile/json/patch.hpp"
#include "reconcile/kube/core.hpp"

using namespace reconcile;

namespace {

struct Inner {
  Text name;
  std::optional<bool> flag;
  friend bool operator==(const Inner&, const Inner&) = default;
};
consteval auto describe(const Inner*) { return object("Inner.", field<&Inner::name>("name", "."), field<&Inner::flag>("flag", ".")); }
struct Outer {
  Inner absent, must;
  std::optional<Inner> engaged;
  std::vector<Inner> list, must_list;
  Labels must_labels;
  friend bool operator==(const Outer&, const Outer&) = default;
};
consteval auto describe(const Outer*) {
  return object("Outer.", field<&Outer::absent>("absent", "."), field<&Outer::must>("must", ".", {.required = true}),
                field<&Outer::engaged>("engaged", "."), field<&Outer::list>("list", "."),
                field<&Outer::must_list>("mustList", ".", {.required = true}),
                field<&Outer::must_labels>("mustLabels", ".", {.required = true}));
}

}  // namespace

TEST_CASE("what is absent is left out, what is required never is", "[json]") {
  CHECK(encode(Outer{}) == R"({"must":{},"mustList":[],"mustLabels":{}})");
  Outer o;
  o.engaged.emplace();  // an engaged optional says something, even if it is empty
  o.absent.flag = false;
  o.list.emplace_back();
  CHECK(encode(o) == R"({"absent":{"flag":false},"must":{},"engaged":{},"list":[{}],"mustList":[],"mustLabels":{}})");
  Pool pool;
  CHECK(decode<Outer>(encode(o), pool).value() == o);
}

TEST_CASE("strings are escaped so that every parser reads them back", "[json]") {
  for (unsigned c = 0; c < 0x80; ++c) {
    const std::string s = std::string("a") + static_cast<char>(c) + "b";
    CHECK(nlohmann::json::parse(quote(s)).get<std::string>() == s);
  }
  for (const std::string s : {"é", "漢字", "😀", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80", "\xe2\x80\xa8"})
    CHECK(nlohmann::json::parse(quote(s)).get<std::string>() == s);
}

TEST_CASE("bytes that are not UTF-8 become the replacement character", "[json]") {
  const auto read = [](std::string_view s) { return nlohmann::json::parse(quote(s)).get<std::string>(); };
  CHECK(read("a\xff"
             "b") ==
        "a\xef\xbf\xbd"
        "b");
  CHECK(read("\xc3") == "\xef\xbf\xbd");                                  // cut off
  CHECK(read("\xc0\xaf") == "\xef\xbf\xbd\xef\xbf\xbd");                  // overlong
  CHECK(read("\xed\xa0\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // a surrogate
  CHECK(read("\xf4\x90\x80\x80").substr(0, 3) == "\xef\xbf\xbd");         // past U+10FFFF
  CHECK(read("\xf0\x9f\x98") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("a whole object begins with its version and kind", "[json]") {
  ControllerRevision r;
  r.metadata.name = "workers-x";
  r.data = {R"({"spec":{}})"};
  r.revision = 3;
  CHECK(encode_object("apps/v1", "ControllerRevision", type_of<ControllerRevision>, &r) ==
        R"({"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"workers-x"},"data":{"spec":{}},"revision":3})");
}

TEST_CASE("equal values encode alike, whatever order they were made in", "[json]") {
  const Labels a{{"x", "1"}, {"a", "2"}}, b{{"a", "2"}, {"x", "1"}};
  ConfigMap m, n;
  m.data = a;
  n.data = b;
  CHECK(encode(m) == encode(n));
  CHECK(same(m, n));
  n.data.set("x", "3");
  CHECK_FALSE(same(m, n));
}

TEST_CASE("hashes are names: ten safe characters, fixed for ever", "[json]") {
  CHECK(hash_of("") == hash_of(""));
  CHECK(hash_of(R"({"packages":[]})").size() == 10);
  CHECK(hash_of(R"({"packages":[]})").find_first_not_of("bcdfghjklmnpqrstvwxz2456789") == std::string::npos);
  std::set<std::string> seen;
  for (int i = 0; i < 20'000; ++i) seen.insert(hash_of(std::to_string(i)));
  CHECK(seen.size() == 20'000);
  // A revision that is stored today must be found by tomorrow's version: these may never change.
  CHECK(hash_of("") == "s6vf8jvv2p");
  CHECK(hash_of("endstate") == "j24xwtncjh");
}

TEST_CASE("pointers and patches", "[json]") {
  CHECK(pointer("endstate.dev/a~b") == "endstate.dev~1a~0b");
  JsonPatch patch;
  CHECK(patch.empty());
  patch.test("/metadata/resourceVersion", quote("7"))
      .add("/metadata/labels/" + pointer("endstate.dev/x"), quote("a\"b"))
      .replace("/spec/taints", "[]")
      .remove("/spec/taints/0");
  const auto parsed = nlohmann::json::parse(patch.str());
  REQUIRE(parsed.size() == 4);
  CHECK(parsed[0] == nlohmann::json{{"op", "test"}, {"path", "/metadata/resourceVersion"}, {"value", "7"}});
  CHECK(parsed[1]["path"] == "/metadata/labels/endstate.dev~1x");
  CHECK(parsed[1]["value"] == "a\"b");
  CHECK_FALSE(parsed[3].contains("value"));
  const nlohmann::json before{{"metadata", {{"resourceVersion", "7"}, {"labels", nlohmann::json::object()}}},
                              {"spec", {{"taints", {1, 2}}}}};
  CHECK_THROWS(before.patch(parsed));  // the last op finds an empty list
  JsonPatch good;
  good.test("/metadata/resourceVersion", quote("7")).remove("/spec/taints/0");
  CHECK(before.patch(nlohmann::json::parse(good.str()))["spec"]["taints"] == nlohmann::json{2});
}
