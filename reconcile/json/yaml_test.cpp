#include "reconcile/json/yaml.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace reconcile;

namespace {

std::string json(std::string_view yaml) {
  auto read = yaml_to_json(yaml);
  return read ? *read : "error: " + read.error().message;
}
bool refused(std::string_view yaml, std::string_view part) {
  const auto read = yaml_to_json(yaml);
  if (read) return false;
  UNSCOPED_INFO(read.error().message);
  return read.error().code == Code::invalid && read.error().message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("scalars mean what YAML 1.2 says, and nothing more", "[yaml]") {
  const std::pair<const char*, const char*> table[] = {
      {"true", "true"},
      {"True", "true"},
      {"FALSE", "false"},
      {"null", "null"},
      {"~", "null"},
      {"", "null"},
      {"yes", R"("yes")"},
      {"no", R"("no")"},
      {"on", R"("on")"},
      {"off", R"("off")"},
      {"y", R"("y")"},
      {"N", R"("N")"},
      {"\"true\"", R"("true")"},
      {"'5'", R"("5")"},
      {"5", "5"},
      {"-5", "-5"},
      {"+5", "5"},
      {"0", "0"},
      {"-0", "-0"},
      {"9223372036854775808", "9223372036854775808"},  // the reader of the JSON says what is too large
      {"0x1F", "31"},
      {"0o17", "15"},
      {"0xZZ", R"("0xZZ")"},
      {"1.5", "1.5"},
      {".5", "0.5"},
      {"5.", "5.0"},
      {"1e3", "1e3"},
      {"1.5E-3", "1.5E-3"},
      {"1e", R"("1e")"},
      {".", R"(".")"},
      {"-", "[null]"},
      {"--5", R"("--5")"},
      {"1_000", R"("1_000")"},
      {"1:30", R"("1:30")"},
      {"2026-11-23", R"("2026-11-23")"},
      {"2026-11-23T03:34:15Z", R"("2026-11-23T03:34:15Z")"},
      {"v1.34.4", R"("v1.34.4")"},
      {"1.34.4", R"("1.34.4")"},
      {"10%", R"("10%")"},
      {"a b", R"("a b")"},
      {"!!str 5", R"("5")"},
      {"!!int 5", "5"},
      {"\"a\\tb\\u00e9\"", "\"a\\tbé\""},
      {"é漢😀", "\"é漢😀\""},
  };
  for (const auto& [yaml, expected] : table) {
    INFO(yaml);
    CHECK(json(yaml) == expected);
  }
}

TEST_CASE("maps, lists and blocks", "[yaml]") {
  CHECK(json("a: 1\nb: [x, {c: d}]\ne:\n- f\n-\n  g: h\n") == R"({"a":1,"b":["x",{"c":"d"}],"e":["f",{"g":"h"}]})");
  CHECK(json("{}") == "{}");
  CHECK(json("[]") == "[]");
  CHECK(json("a:\nb:\n") == R"({"a":null,"b":null})");
  CHECK(json("text: |\n  one\n  two\n") == R"({"text":"one\ntwo\n"})");
  CHECK(json("text: >-\n  one\n  two\n") == R"({"text":"one two"})");
  CHECK(json("on: 1\nyes: 2\n5: 3\n") == R"({"on":1,"yes":2,"5":3})");  // keys are strings
  CHECK(json("? a\n: b\n") == R"({"a":"b"})");
  CHECK(json("# only a comment\n") == "null");
  CHECK(json("") == "null");
  CHECK(json("---\na: 1\n...\n") == R"({"a":1})");
  CHECK(json("a: 1\n...\n...\n\n") == R"({"a":1})");
  CHECK(json("a: |\n  x") == R"({"a":"x"})");
  CHECK(json("a: |+\n  x\n\n") == R"({"a":"x\n\n"})");
  CHECK(json("a: &anchor 1\n") == R"({"a":1})");  // a name that nothing refers to
}

TEST_CASE("JSON is YAML", "[yaml]") {
  const std::string text = R"([{"type":"RuntimeReady","status":"True","n":-1.5e3,"b":true,"z":null,"s":"a\"b\\c\n"}])";
  CHECK(nlohmann::json::parse(json(text)) == nlohmann::json::parse(text));
}

TEST_CASE("what YAML would quietly turn into something else is refused", "[yaml]") {
  CHECK(refused("a: &x 1\nb: *x\n", "line 2, column 4: aliases"));
  CHECK(refused("a: &a [*a, *a]\n", "aliases"));
  CHECK(refused("<<: {a: 1}\n", "merge keys"));
  CHECK(refused("a: 1\na: 2\n", "line 2, column 1: the key \"a\" stands there twice"));
  CHECK(refused("{a: 1, 'a': 2}", "stands there twice"));
  CHECK(refused("x:\n  a: 1\n  a: 2\n", "line 3, column 3"));
  CHECK(refused("? [a]\n: b\n", "a key must be a scalar"));
  CHECK(refused("? {a: b}\n: c\n", "a key must be a scalar"));
  CHECK(refused("mode: 0644\n", "begins with 0"));
  CHECK(refused("mode: -00\n", "begins with 0"));
  CHECK(refused("a: .inf\n", "infinity"));
  CHECK(refused("a: .NaN\n", "infinity"));
  CHECK(refused("a: !mine 1\n", "!mine"));
  CHECK(refused("a: !mine {b: c}\n", "!mine"));
  CHECK(refused("a: !!binary aGk=\n", "binary"));
  CHECK(refused("a: !!set {b, c}\n", "set"));
}

TEST_CASE("broken YAML is an error with its place, never a crash", "[yaml]") {
  CHECK(refused("a: [1\nb: 2\n", "line"));
  CHECK(refused("a: 'x\n", "YAML: "));
  CHECK(refused("a: 'x", "YAML: "));
  CHECK(refused("a: \"x\nb: 1\n", "YAML: "));
  CHECK(refused("a: b: c\n", "line 1"));
  CHECK(refused("\ta: 1\n", "YAML: "));
  CHECK(refused("a: \"\\q\"\n", "YAML: "));
  CHECK(refused("- a\nb: 1\n", "YAML: "));
  CHECK(refused("%YAML 9.9\n--- a\n--- b\n", "YAML: "));
}

TEST_CASE("cut off anywhere, it is read or refused, never worse", "[yaml]") {
  const std::string text = "a: [1, {b: 'x y', \"c\": |\n  t\n}]\nd: &e !!str f # g\n---\nh: >\n  i\n";
  for (std::size_t n = 0; n <= text.size(); ++n) {
    const auto read = yaml_documents_to_json(std::string_view(text).substr(0, n));
    if (!read) continue;
    for (const auto& document : *read) CHECK(nlohmann::json::accept(document));
  }
}

TEST_CASE("depth, length and the number of documents are bounded", "[yaml]") {
  CHECK(json(std::string(100, '[') + std::string(100, ']')) == std::string(100, '[') + std::string(100, ']'));
  CHECK(refused(std::string(101, '[') + std::string(101, ']'), "more than 100 levels"));
  CHECK(refused(std::string(100'000, '['), "YAML: "));
  CHECK(refused(std::string(100'000, '{'), "YAML: "));
  CHECK(refused(std::string((16U << 20) + 1, 'x'), "longer than 16 MiB"));
  std::string many;
  for (int i = 0; i < 1001; ++i) many += "---\na\n";
  CHECK_FALSE(yaml_documents_to_json(many));
}

TEST_CASE("several documents", "[yaml]") {
  const auto read = yaml_documents_to_json("# first\na: 1\n---\n---\nb: 2\n---\n# nothing\n").value();
  REQUIRE(read.size() == 2);
  CHECK(read[0] == R"({"a":1})");
  CHECK(read[1] == R"({"b":2})");
  CHECK(refused("a: 1\n---\nb: 2\n", "expected one document, there are 2"));
}

TEST_CASE("a kubeconfig", "[yaml]") {
  const auto read = nlohmann::json::parse(json(R"(apiVersion: v1
kind: Config
current-context: admin
clusters:
- name: local
  cluster:
    server: https://127.0.0.1:6443
    certificate-authority-data: LS0tLS1CRUdJTg==
users:
- name: admin
  user:
    tokenFile: /var/run/token
    insecure: no
contexts: [{name: admin, context: {cluster: local, user: admin}}]
preferences: {}
)"));
  CHECK(read["clusters"][0]["cluster"]["certificate-authority-data"] == "LS0tLS1CRUdJTg==");
  CHECK(read["users"][0]["user"]["insecure"] == "no");
  CHECK(read["preferences"].empty());
}

TEST_CASE("JSON as YAML reads back the same", "[yaml]") {
  const std::string table[] = {
      R"({"b":1,"a":[],"c":{},"d":null,"e":true,"f":-1.5,"g":"text"})",
      R"({"s":["true","null","5","1e3","yes","on","y","~","","- a","a: b","a #b","#a","*a","&a","!a","%a","@a","`a","[","{a}","a, b",">","|","0644"," a ","a "]})",
      R"({"s":["a\nb","a\tb","a\"b","a'b","a\\b","é","0x1F",".5","2026-11-23","a:b","=","<<"]})",
      R"({"x":[[1,[2]],[{"a":{"b":[]}}]]})",
      R"({"true":"a","5":"b","a b":"c","yes":{}})",
      "[]",
      R"("x")",
      "null",
  };
  for (const auto& text : table) {
    const auto yaml = json_to_yaml(text).value();
    INFO(yaml);
    CHECK(nlohmann::ordered_json::parse(json(yaml)) == nlohmann::ordered_json::parse(text));
  }
  CHECK(json_to_yaml(R"({"b":1,"a":[{"x":"yes"}]})").value() == "b: 1\na:\n  - x: \"yes\"\n");
  CHECK_FALSE(json_to_yaml("{"));
}

TEST_CASE("yaml: a configuration is read as client-go reads it", "[yaml]") {
  const auto as = [](std::string_view yaml) {
    const auto json = yaml_config_to_json(yaml);
    return json ? *json : json.error().message;
  };
  CHECK(as("a: 1\n---\n") == R"({"a":1})");
  CHECK(as("---\na: 1\n---\nb: [\n") == R"({"a":1})");  // what follows isn't looked at
  CHECK(as("a: 1\n...\n") == R"({"a":1})");
  CHECK(as("") == "null");
  CHECK(as("a: &x text\nb: *x\nc: [*x, *x]\n") == R"({"a":"text","b":"text","c":["text","text"]})");
  CHECK(as("a: &x {p: 1, q: &y [1, 2]}\nb: *x\nc: *y\n") == R"({"a":{"p":1,"q":[1,2]},"b":{"p":1,"q":[1,2]},"c":[1,2]})");
  CHECK(as("base: &b {p: 1, q: 2}\nc:\n  <<: *b\n  q: 3\nd:\n  <<: [{r: 4}, *b]\n") ==
        R"({"base":{"p":1,"q":2},"c":{"p":1,"q":3},"d":{"p":1,"q":2,"r":4}})");
  CHECK(as("a: 1\na: 2\n") == R"({"a":2})");
  CHECK(as("a: &x\nb: *x\n") == R"({"a":null,"b":null})");
}

TEST_CASE("yaml: a bomb of aliases is refused", "[yaml]") {
  std::string bomb = "a0: &a0 [xxxxxxxxxx, xxxxxxxxxx]\n";
  for (int i = 1; i < 30; ++i) {
    const auto last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last + ", " + last + ", " + last + ", " + last + "]\n";
  }
  const auto json = yaml_config_to_json(bomb);
  REQUIRE_FALSE(json);
  CHECK(json.error().message.find("1 MiB") != std::string::npos);
  CHECK_FALSE(yaml_config_to_json("a: &a [*a]\n"));
  CHECK_FALSE(yaml_config_to_json("a: *nobody\n"));
  CHECK_FALSE(yaml_config_to_json(std::string(200, '[')));
}
