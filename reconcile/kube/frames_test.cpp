#include "reconcile/kube/frames.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

using namespace reconcile;

namespace {

struct Outcome {
  std::vector<std::string> frames;
  bool ok = true;
  std::string status;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Feeds `text` in the pieces that `cuts` (ascending positions) make.
Outcome split_list(std::string_view text, const std::vector<std::size_t>& cuts = {}, std::size_t limit = max_frame) {
  ListSplitter splitter(limit);
  Outcome out;
  const FrameSink sink = [&](std::string_view frame) { out.frames.emplace_back(frame); };
  std::size_t at = 0;
  auto feed = [&](std::size_t end) {
    const std::string piece(text.substr(at, end - at));  // its own memory: a read past its end is found by a sanitizer
    at = end;
    out.ok = out.ok && splitter.feed(piece, sink).has_value();
  };
  for (const auto cut : cuts) feed(cut);
  feed(text.size());
  out.status = splitter.status();
  out.ok = out.ok && splitter.finish(sink).has_value();
  return out;
}

Outcome split_watch(std::string_view text, const std::vector<std::size_t>& cuts = {}, std::size_t limit = max_frame) {
  WatchSplitter splitter(limit);
  Outcome out;
  const FrameSink sink = [&](std::string_view frame) { out.frames.emplace_back(frame); };
  std::size_t at = 0;
  auto feed = [&](std::size_t end) {
    out.ok = out.ok && splitter.feed(std::string(text.substr(at, end - at)), sink).has_value();
    at = end;
  };
  for (const auto cut : cuts) feed(cut);
  feed(text.size());
  out.ok = out.ok && splitter.finish().has_value();
  return out;
}

const std::vector<std::string> items = {
    R"({"metadata":{"name":"a"}})",
    R"({ "s" : "}{][\"\\", "n":{"d":[{"e":{}}]} })",
    R"({})",
    R"({"long":"0123456789abcdef0123456789abcdef","esc":"\\\\\"}","k\"}":"\u0022}{","x":[[],[{}],"]"]})",
};

std::string joined(const std::string& separator) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : separator) + item;
  return text;
}

}  // namespace

TEST_CASE("every cut of a list gives the same frames", "[frames]") {
  const std::string metadata = R"({"resourceVersion":"12","x":"\"}]","continue":"}","a":[1,{"b":[]}]})";
  const std::string lists[] = {
      R"({"kind":"MachineList","apiVersion":"v1","metadata":)" + metadata + R"(,"items":[)" + joined(",") + "]}\n",
      "{\"items\" : [ " + joined(" ,\n ") + " ] , \"metadata\" : " + metadata + " }",
      R"({"\"items":[{}],"other":{"items":[{}],"metadata":{}},"n":1.5e3,"t":true,"items":[)" + joined(",") + R"(],"z":null,"metadata":)" +
          metadata + "}",
  };
  auto expected = items;
  expected.push_back("{\"metadata\":" + metadata + "}");
  for (const auto& text : lists) {
    CAPTURE(text);
    REQUIRE(split_list(text) == Outcome{expected, true, ""});
    std::vector<std::size_t> each;
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      each.push_back(cut);
      if (split_list(text, {cut}) != Outcome{expected, true, ""}) FAIL("cut at " << cut);
    }
    CHECK(split_list(text, each) == Outcome{expected, true, ""});
    for (std::size_t end = 0; end < text.find_last_of('}'); ++end) {
      const auto cut = split_list(text.substr(0, end));
      if (cut.ok || cut.frames.size() > items.size()) FAIL("truncated at " << end << " and taken");
    }
  }
}

TEST_CASE("random lists in random pieces", "[frames]") {
  std::mt19937 random(7);
  const auto upto = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n)(random); };
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> expected;
    std::string text = R"({"items":[)";
    for (std::size_t n = upto(12), i = 0; i < n; ++i) {
      std::string value;
      for (std::size_t length = upto(90), j = 0; j < length; ++j) {
        const char* const atoms[] = {"a", "\\\\", "\\\"", "{", "}", "[", "]", ",", " ", "\xc3\xa4"};
        value += atoms[upto(9)];
      }
      std::string item = R"({"v":")";
      expected.push_back(item.append(value).append(R"(","w":[{"v":")").append(value).append(R"("},[]]})"));
      text.append(i == 0 ? "" : ",").append(expected.back());
    }
    text += "]}";
    expected.emplace_back(R"({"metadata":{}})");
    std::vector<std::size_t> cuts;
    for (std::size_t at = upto(60); at < text.size(); at += upto(60)) cuts.push_back(at);
    CAPTURE(text);
    REQUIRE(split_list(text, cuts) == Outcome{expected, true, ""});
  }
}

TEST_CASE("lists that are empty, wrong, or no lists", "[frames]") {
  const std::vector<std::string> none = {R"({"metadata":{}})"};
  CHECK(split_list(R"({"items":[]})") == Outcome{none, true, ""});
  CHECK(split_list(R"({"items":null})") == Outcome{none, true, ""});
  CHECK(split_list(R"({"metadata":null,"items":[ ]})") == Outcome{none, true, ""});
  for (const auto* text : {"", " ", "[]", "nonsense", "{", "{}", R"({"kind":"Pod","metadata":{}})", R"({"items":[1]})",
                           R"({"items":[{},]})", R"({"items":[{} {}]})", R"({"items":[{}]]})", R"({"items":[{}]} x)", R"({"items":[]}{})",
                           R"({"items" []})", R"({"items":[{}])", R"({"items":[}]})", R"({,})", R"({"a":1,})"})
    if (split_list(text).ok) FAIL("taken: " << text);
}

TEST_CASE("a Status in place of a list is its body", "[frames]") {
  const std::string status = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","code":500})";
  for (std::size_t cut = 0; cut <= status.size(); ++cut) {
    const auto out = split_list(status, {cut});
    CHECK_FALSE(out.ok);
    CHECK(out.frames.empty());
    CHECK(out.status == status);
  }
  CHECK(split_list(R"({"kind":"StatusList","items":[{"kind":"Status"}]})").ok);
}

TEST_CASE("a frame that is too long is an error, and costs no more than the limit", "[frames]") {
  const std::string item = R"({"a":")" + std::string(100, 'x') + "\"}";
  const std::string list = R"({"items":[)" + item + "," + item + "]}";
  CHECK(split_list(list, {}, item.size()).ok);
  CHECK(split_list(list, {40, 60}, item.size()).ok);
  CHECK_FALSE(split_list(list, {}, item.size() - 1).ok);
  CHECK_FALSE(split_list(list, {40, 60}, item.size() - 1).ok);
  CHECK_FALSE(split_list(R"({"x":")" + std::string(200, 'x') + "\"}", {}, 100).ok);
  CHECK(split_watch(item + "\n" + item + "\n", {50}, item.size()).ok);
  CHECK_FALSE(split_watch(item + "\n", {50}, item.size() - 1).ok);
  CHECK_FALSE(split_watch(item + "\n", {}, item.size() - 1).ok);
}

TEST_CASE("every cut of a watch gives the same events", "[frames]") {
  const std::vector<std::string> events = {R"({"type":"ADDED","object":{"a":"\n"}})", R"({"type":"BOOKMARK","object":{}})", "{}"};
  const std::string text = events[0] + "\n" + events[1] + "\r\n\n  \n" + events[2] + "\n";
  auto expected = events;
  expected[1] += "\r";
  std::vector<std::size_t> each;
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    each.push_back(cut);
    CHECK(split_watch(text, {cut}) == Outcome{expected, true, ""});
  }
  CHECK(split_watch(text, each) == Outcome{expected, true, ""});
  CHECK_FALSE(split_watch(R"({"type":"ADDED","obj)").ok);
  CHECK(split_watch("").ok);
  CHECK(split_watch("\n").ok);
}
