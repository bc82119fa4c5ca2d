#include "reconcile/json/decode.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "reconcile/json/encode.hpp"
#include "reconcile/kube/core.hpp"

using namespace reconcile;

namespace {

enum class Color : std::uint8_t { none, red, blue };
consteval auto describe(const Color*) { return names("A colour.", "", "Red", "Blue"); }

struct Part {
  Text name;
  std::int64_t count = 0;
  friend bool operator==(const Part&, const Part&) = default;
};
consteval auto describe(const Part*) {
  return object("A part.", field<&Part::name>("name", "Its name.", {.required = true}), field<&Part::count>("count", "How many."));
}

struct Widget {
  bool on = false;
  std::int64_t size = 0;
  std::optional<std::int64_t> limit;
  std::chrono::seconds wait{};
  Text text;
  std::string plain;
  Color color{};
  WallTime time{};
  MicroTime micro;
  IntOrPercent share;
  Labels labels;
  Json anything;
  std::vector<Part> parts;
  std::vector<Text> words;
  std::vector<std::vector<std::int64_t>> grid;
  std::optional<Part> spare;
  Part inner;
  JsonOf<Part> passed;
  friend bool operator==(const Widget&, const Widget&) = default;
};
consteval auto describe(const Widget*) {
  using W = Widget;
  return object("Everything.", field<&W::on>("on", "."), field<&W::size>("size", "."), field<&W::limit>("limit", "."),
                field<&W::wait>("waitSeconds", "."), field<&W::text>("text", "."), field<&W::plain>("plain", "."),
                field<&W::color>("color", "."), field<&W::time>("time", "."), field<&W::micro>("micro", "."),
                field<&W::share>("share", "."), field<&W::labels>("labels", "."), field<&W::anything>("anything", "."),
                field<&W::parts>("parts", "."), field<&W::words>("words", "."), field<&W::grid>("grid", "."),
                field<&W::spare>("spare", "."), field<&W::inner>("inner", "."), field<&W::passed>("passed", "."));
}

Widget full() {
  Widget w;
  w.on = true;
  w.size = std::numeric_limits<std::int64_t>::min();
  w.limit = std::numeric_limits<std::int64_t>::max();
  w.wait = std::chrono::seconds(90);
  w.text = "quote \" backslash \\ line\nfeed tab\t bell\a nul-free é 漢 😀 \x7f";
  w.plain = "plain";
  w.color = Color::blue;
  w.time = *parse_rfc3339("2026-11-23T03:34:15Z");
  w.micro = {*parse_rfc3339("2026-11-23T03:34:15.000001Z")};
  w.share = {10, true};
  w.labels = {{"a/b", "1"}, {"z", ""}};
  w.anything = {R"({"x":[1,{"y":null}],"s":"a b"})"};
  w.parts = {{"one", 1}, {"two", 2}};
  w.words = {"x", "y"};
  w.grid = {{1, 2}, {}, {3}};
  w.spare = Part{"spare", 0};
  w.inner = {"inner", 5};
  w.passed.raw = R"({"name":"p","count":1})";
  return w;
}

Result<Widget> read(std::string_view json) {
  Pool pool;
  return decode<Widget>(json, pool);
}
std::string why(std::string_view json) {
  const auto w = read(json);
  return w ? "accepted" : w.error().message;
}

}  // namespace

TEST_CASE("what is written is read back", "[json]") {
  const Widget w = full();
  const std::string json = encode(w);
  const auto back = read(json);
  REQUIRE(back);
  CHECK(*back == w);
  CHECK(encode(*back) == json);
  const auto other = nlohmann::json::parse(json);  // another parser agrees that it is JSON, and on what it says
  CHECK(other["text"].get<std::string>() == w.text.view());
  CHECK(other["size"] == std::numeric_limits<std::int64_t>::min());
  CHECK(other["share"] == "10%");
  CHECK(other["passed"]["name"] == "p");
}

TEST_CASE("null and absence are the same, unknown fields are skipped", "[json]") {
  CHECK(read("{}").value() == Widget{});
  CHECK(read(R"({"on":null,"limit":null,"text":null,"parts":null,"spare":null,"labels":null,"anything":null,"inner":null,"time":null})")
            .value() == Widget{});
  CHECK(read(R"({"unknown":{"a":[1,2,{"b":"}"}]},"size":3,"sizes":[{}],"":1})").value().size == 3);
  CHECK(read(R"({"labels":{"a":null,"b":"x"}})").value().labels == Labels{{"b", "x"}});
  CHECK_FALSE(read(R"({"limit":null})").value().limit.has_value());
  // What isn't pooled, too: a bookmark of CertificateSigningRequests has a request that is null.
  Pool pool;
  const auto meta = decode<ObjectMeta>(R"({"name":"x","resourceVersion":null})", pool);
  REQUIRE(meta);
  CHECK(meta->name == "x");
  CHECK(meta->resource_version.empty());
  CHECK(read(R"({"limit":0})").value().limit == 0);
  CHECK(read("  {\n \"size\" :\t4 }\r\n").value().size == 4);
  CHECK(read("{\"si\\u007ae\":4}").value().size == 4);  // an escaped name is the same name
}

TEST_CASE("strings of every kind", "[json]") {
  const auto text = [](std::string_view json) { return read(std::string("{\"text\":").append(json).append("}")).value().text.str(); };
  CHECK(text(R"("\u0041\/\b\f\n\r\t\"\\")") == "A/\b\f\n\r\t\"\\");
  CHECK(text(R"("\ud83d\ude00")") == "😀");
  CHECK(text(R"("😀")") == "😀");
  CHECK(text(R"("\u0000x")") == std::string("\0x", 2));
  CHECK(why("{\"text\":\"\xff\"}") != "accepted");          // not UTF-8
  CHECK(why("{\"text\":\"\xed\xa0\x80\"}") != "accepted");  // a surrogate in UTF-8
  CHECK(why("{\"text\":\"\xc0\xaf\"}") != "accepted");      // an overlong form
  CHECK(why("{\"text\":\"a\nb\"}") != "accepted");          // a bare control character
  CHECK(why(R"({"text":"\x"})") != "accepted");
  CHECK(why(R"({"text":"\u12"})") != "accepted");
}

TEST_CASE("a word that isn't known is kept where caches read, and written back as it was", "[json]") {
  Pool pool;
  const auto kept = [&](std::string_view json) { return decode<Widget>(json, pool, UnknownWords::kept).value(); };
  const Widget one = kept(R"({"color":"Green","parts":[{"name":"a"}]})");
  CHECK_FALSE(is_known(one.color));
  CHECK(name_of(one.color) == "Green");
  CHECK(one.color != Color::red);
  CHECK(one.color != Color::blue);
  CHECK(one.color == kept(R"({"color":"Green"})").color);
  CHECK(one.color != kept(R"({"color":"Mauve"})").color);
  CHECK(encode(one).find(R"("color":"Green")") != std::string::npos);
  CHECK(find_unknown_word(one) == "color: Green");
  CHECK(find_unknown_word(kept(R"({"color":"Blue"})")).empty());
}

TEST_CASE("what is wrong is named with its place", "[json]") {
  CHECK(why(R"({"parts":[{"name":"a"},{"count":"3"}]})") == "parts[1].count: expected an integer of 64 bits");
  CHECK(why(R"({"size":9223372036854775808})") == "size: expected an integer of 64 bits");
  CHECK(why(R"({"size":-9223372036854775809})") == "size: expected an integer of 64 bits");
  CHECK(read(R"({"size":9223372036854775807})").value().size == std::numeric_limits<std::int64_t>::max());
  CHECK(read(R"({"size":-9223372036854775808})").value().size == std::numeric_limits<std::int64_t>::min());
  CHECK(why(R"({"size":1.5})") == "size: expected an integer of 64 bits");
  CHECK(why(R"({"size":1e3})") == "size: expected an integer of 64 bits");
  CHECK(why(R"({"size":01})") == "size: expected an integer of 64 bits");
  CHECK(why(R"({"size":true})") == "size: expected an integer of 64 bits");
  CHECK(why(R"({"on":1})") == "on: expected true or false");
  CHECK(why(R"({"on":"true"})") == "on: expected true or false");
  CHECK(why(R"({"text":5})") == "text: expected a string");
  CHECK(why(R"({"text":{}})") == "text: expected a string");
  CHECK(why(R"({"color":"Green"})") == "color: unknown value 'Green', expected one of Red, Blue");
  CHECK(why(R"({"color":"red"})") == "color: unknown value 'red', expected one of Red, Blue");
  CHECK(why(R"({"time":"yesterday"})") == "time: expected a time like 2026-11-23T03:34:15Z");
  CHECK(why(R"({"micro":5})") == "micro: expected a time like 2026-11-23T03:34:15Z");
  CHECK(why(R"({"share":"ten"})") == "share: expected an integer or a percentage like 10%");
  CHECK(why(R"({"share":"10"})") == "share: expected an integer or a percentage like 10%");
  CHECK(why(R"({"share":"1.5%"})") == "share: expected an integer or a percentage like 10%");
  CHECK(why(R"({"share":"%"})") == "share: expected an integer or a percentage like 10%");
  CHECK(why(R"({"share":[]})") == "share: expected an integer or a percentage like 10%");
  CHECK(why(R"({"labels":["a"]})") == "labels: expected an object of strings");
  CHECK(why(R"({"labels":{"a/b":1}})") == "labels.a/b: expected a string");
  CHECK(why(R"({"parts":{}})") == "parts: expected a list");
  CHECK(why(R"({"grid":[[1],["x"]]})") == "grid[1][0]: expected an integer of 64 bits");
  CHECK(why(R"({"spare":[]})") == "spare: expected an object");
  CHECK(why(R"({"inner":{"count":[]}})") == "inner.count: expected an integer of 64 bits");
  CHECK(why("[]") == "expected a JSON object");
  CHECK(why("\"x\"") == "expected a JSON object");
  CHECK(why("7") == "expected a JSON object");
  CHECK(why("null") == "expected a JSON object");
  CHECK(why("") == "expected a JSON object");
  CHECK(why("   ") == "expected a JSON object");
}

TEST_CASE("input that is cut off anywhere is refused", "[json]") {
  const std::string json = encode(full());
  for (std::size_t n = 0; n < json.size(); ++n) {
    INFO(json.substr(0, n));
    CHECK_FALSE(read(json.substr(0, n)));
  }
}

TEST_CASE("input that goes on after its end is refused", "[json]") {
  CHECK(why("{} {}") != "accepted");
  CHECK(why(R"({"size":1}x)") != "accepted");
  CHECK(why(R"({"size":1},)") != "accepted");
  CHECK(why(R"({"size":1}})") != "accepted");
  CHECK(why(R"({"size":1} null)") != "accepted");
}

TEST_CASE("broken JSON is refused where it is read", "[json]") {
  CHECK(why(R"({"size":1 "on":true})") != "accepted");
  CHECK(why(R"({"size":1,})") != "accepted");
  CHECK(why(R"({"size" 1})") != "accepted");
  CHECK(why(R"({size:1})") != "accepted");
  CHECK(why(R"({"parts":[{"name":"a"} {"name":"b"}]})") != "accepted");
  CHECK(why(R"({"parts":[,]})") != "accepted");
  CHECK(why(R"({"on":tru})") != "accepted");
  CHECK(why(R"({"on":nul})") != "accepted");
  CHECK(why(R"({"size":--1})") != "accepted");
  CHECK(why(R"({"size":1)") != "accepted");
}

TEST_CASE("depth is bounded", "[json]") {
  const auto nested = [](std::size_t depth) {
    return R"({"unknown":)" + std::string(depth, '[') + std::string(depth, ']') + R"(,"size":1})";
  };
  CHECK(read(nested(500)).value().size == 1);
  CHECK_FALSE(read(R"({"grid":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}"));
  const auto raw = R"({"anything":)" + std::string(100'000, '[') + std::string(100'000, ']') + R"(,"size":1})";
  const auto kept = read(raw);  // skipped without recursion: kept or refused, never a crash
  if (kept) CHECK(kept->size == 1);
}

TEST_CASE("a parser is used again after an error, and after a large input", "[json]") {
  Pool pool;
  CHECK_FALSE(decode<Widget>("{\"size\":", pool));
  CHECK(decode<Widget>(R"({"size":2})", pool).value().size == 2);
  const std::string large = R"({"plain":")" + std::string(3U << 20, 'x') + R"(","size":3})";
  CHECK(decode<Widget>(large, pool).value().size == 3);
  CHECK(decode<Widget>(R"({"size":4})", pool).value().size == 4);
}

TEST_CASE("the input needs no padding and may be a part of something larger", "[json]") {
  const std::string surrounded = R"(garbage{"size":5}}}}"[)";
  CHECK(read(std::string_view(surrounded).substr(7, 10)).value().size == 5);
  const std::vector<char> exact{'{', '"', 's', 'i', 'z', 'e', '"', ':', '6', '}'};  // no byte behind it belongs to us
  CHECK(read({exact.data(), exact.size()}).value().size == 6);
}

TEST_CASE("strings are shared through the pool", "[json]") {
  Pool pool;
  const auto a = decode<Widget>(R"({"text":"kubelet-1.34.4","anything":{"a":1}})", pool).value();
  const auto b = decode<Widget>(R"({"words":["kubelet-1.34.4"],"anything":{"a":1}})", pool).value();
  CHECK(a.text.view().data() == b.words[0].view().data());
  CHECK(a.anything.raw.view().data() == b.anything.raw.view().data());
}

TEST_CASE("threads decode at the same time", "[json]") {
  Pool pool;
  const std::string json = encode(full());
  std::vector<std::thread> threads;
  std::array<bool, 4> good{};
  for (std::size_t t = 0; t < good.size(); ++t)
    threads.emplace_back([&, t] {
      good[t] = true;
      for (int i = 0; i < 500; ++i) good[t] = good[t] && decode<Widget>(json, pool).value() == full();
    });
  for (auto& t : threads) t.join();
  CHECK(good == std::array<bool, 4>{true, true, true, true});
}

TEST_CASE("a node as an API server sends it", "[json]") {
  Pool pool;
  const auto node = decode<Node>(R"({"kind":"Node","apiVersion":"v1","metadata":{"name":"h1","uid":"u","resourceVersion":"7",
    "creationTimestamp":"2026-11-23T03:34:15Z","labels":{"a":"b"},"managedFields":[{"manager":"kubelet","fieldsV1":{"f:a":{}}}]},
    "spec":{"taints":[{"key":"endstate.dev/not-ready","effect":"NoSchedule","timeAdded":"2026-11-23T03:34:15Z"}],"unschedulable":true},
    "status":{"capacity":{"cpu":"4"},"conditions":[{"type":"Ready","status":"Unknown","lastHeartbeatTime":"2026-11-23T03:34:15Z",
    "lastTransitionTime":"2026-11-23T03:34:15Z"}],"nodeInfo":{"kubeletVersion":"v1.34.4","bootID":"b"},"images":[{"names":["x"]}]}})",
                                 pool)
                        .value();
  CHECK(node.metadata.labels.get("a") == "b");
  CHECK(node.spec.taints[0].effect == "NoSchedule");
  CHECK(node.spec.unschedulable == true);
  CHECK(node.status.conditions[0].status == ConditionStatus::unknown);
  CHECK(node.status.node_info.kubelet_version == "v1.34.4");
}
