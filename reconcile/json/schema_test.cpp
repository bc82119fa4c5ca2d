#include "reconcile/json/schema.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "reconcile/kube/meta.hpp"

using namespace reconcile;

namespace {

enum class Mode : std::uint8_t { none, fast, slow };
consteval auto describe(const Mode*) { return names("How.", "", "Fast", "Slow"); }

struct Part {
  Text name;
  std::optional<std::int64_t> count;
  friend bool operator==(const Part&, const Part&) = default;
};
consteval auto describe(const Part*) {
  return object("A part.", field<&Part::name>("name", "Its name.", {.required = true, .max_length = 63, .pattern = "^[a-z]+$"}),
                field<&Part::count>("count", "How many | which.", {.minimum = 1, .maximum = 9}))
      .check("self.name != 'x'", "name must not be x");
}

struct GadgetSpec {
  Mode mode{};
  std::optional<IntOrPercent> share;
  Labels labels;
  Json anything;
  JsonOf<Part> passed;
  std::vector<Part> parts;
  std::vector<Text> words;
  std::vector<Mode> modes;
  WallTime time{};
  std::chrono::seconds wait{};
  bool on = false;
};
consteval auto describe(const GadgetSpec*) {
  using S = GadgetSpec;
  return object("What it should be.", field<&S::mode>("mode", "How it goes."), field<&S::share>("share", "How much.", {.maximum = 100}),
                field<&S::labels>("labels", "Marks.", {.max_length = 63, .max_properties = 8}),
                field<&S::anything>("anything", "Free.", {.max_properties = 4}), field<&S::passed>("passed", "On."),
                field<&S::parts>("parts", "Parts.", {.max_items = 5, .list_key = "name", .cel = {{{"size(self) != 2", "not two"}}}}),
                field<&S::words>("words", "Words.", {.max_length = 7, .max_items = 3}),
                field<&S::modes>("modes", "Modes.", {.max_items = 2, .set = true}), field<&S::time>("time", "When."),
                field<&S::wait>("waitSeconds", "How long.", {.minimum = 0}), field<&S::on>("on", "Whether."));
}
struct Gadget {
  ObjectMeta metadata;
  GadgetSpec spec;
};
consteval auto describe(const Gadget*) {
  return object("A gadget.", field<&Gadget::metadata>("metadata", "Standard object metadata."),
                field<&Gadget::spec>("spec", "What it should be.", {.required = true}))
      .check("size(self.metadata.name) < 9", "name too long");
}
constexpr Resource resource(const Gadget*) { return {"example.dev", "v1", "gadgets", "Gadget", true}; }
inline constexpr Column gadget_columns[] = {{"Mode", "string", ".spec.mode", "How."}, {"On", "boolean", ".spec.on", "Whether.", 1}};
constexpr Crd crd(const Gadget*) {
  return {.singular = "gadget",
          .short_name = "ga",
          .category = "all",
          .columns = gadget_columns,
          .scale_spec = ".spec.n",
          .scale_status = ".status.n"};
}

nlohmann::json parse(const std::string& text) { return nlohmann::json::parse(text); }

}  // namespace

TEST_CASE("a schema says all that the description says", "[schema]") {
  const auto s = parse(schema(type_of<GadgetSpec>));
  const auto& p = s["properties"];
  CHECK(s["type"] == "object");
  CHECK(s["description"] == "What it should be.");
  CHECK(p["mode"] == parse(R"({"description":"How it goes.","type":"string","enum":["Fast","Slow"]})"));
  CHECK(
      p["share"] ==
      parse(
          R"({"description":"How much.","x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}],"maximum":100})"));
  CHECK(p["labels"] ==
        parse(R"({"description":"Marks.","type":"object","additionalProperties":{"type":"string","maxLength":63},"maxProperties":8})"));
  CHECK(p["anything"] == parse(R"({"description":"Free.","type":"object","x-kubernetes-preserve-unknown-fields":true,"maxProperties":4})"));
  CHECK(p["passed"]["properties"]["name"]["pattern"] == "^[a-z]+$");  // the schema of what it passes on
  CHECK(p["passed"]["description"] == "On.");
  CHECK(p["parts"]["x-kubernetes-list-type"] == "map");
  CHECK(p["parts"]["x-kubernetes-list-map-keys"] == parse(R"(["name"])"));
  CHECK(p["parts"]["maxItems"] == 5);
  CHECK(p["parts"]["x-kubernetes-validations"] == parse(R"([{"rule":"size(self) != 2","message":"not two"}])"));
  CHECK(p["parts"]["items"]["required"] == parse(R"(["name"])"));
  CHECK(p["parts"]["items"]["x-kubernetes-validations"][0]["message"] == "name must not be x");
  CHECK(p["parts"]["items"]["properties"]["count"] ==
        parse(R"({"description":"How many | which.","type":"integer","format":"int64","minimum":1,"maximum":9})"));
  CHECK(p["words"]["items"] == parse(R"({"type":"string","maxLength":7})"));
  CHECK(p["words"]["x-kubernetes-list-type"] == "atomic");
  CHECK(p["modes"]["x-kubernetes-list-type"] == "set");
  CHECK(p["time"]["format"] == "date-time");
  CHECK(p["waitSeconds"]["format"] == "int64");
  CHECK(p["on"]["type"] == "boolean");
}

TEST_CASE("a CRD has its names, scope, columns and subresources", "[schema]") {
  const auto crd = parse(custom_resource_definition(api_kind<Gadget>()));
  CHECK(crd["apiVersion"] == "apiextensions.k8s.io/v1");
  CHECK(crd["metadata"]["name"] == "gadgets.example.dev");
  CHECK(crd["spec"]["scope"] == "Namespaced");
  CHECK(
      crd["spec"]["names"] ==
      parse(
          R"({"kind":"Gadget","listKind":"GadgetList","plural":"gadgets","singular":"gadget","shortNames":["ga"],"categories":["all"]})"));
  const auto& version = crd["spec"]["versions"][0];
  CHECK(version["served"] == true);
  CHECK(version["storage"] == true);
  CHECK(version["subresources"]["status"].is_object());
  CHECK(version["subresources"]["scale"]["specReplicasPath"] == ".spec.n");
  CHECK_FALSE(version["additionalPrinterColumns"][0].contains("priority"));
  CHECK(version["additionalPrinterColumns"][1]["priority"] == 1);
  const auto& root = version["schema"]["openAPIV3Schema"];
  CHECK(root["properties"]["metadata"] == parse(R"({"type":"object"})"));
  CHECK(root["properties"]["apiVersion"]["type"] == "string");
  CHECK(root["required"] == parse(R"(["spec"])"));
  CHECK(root["x-kubernetes-validations"][0]["message"] == "name too long");
}

TEST_CASE("the reference page names every field with its bounds", "[schema]") {
  constexpr ApiKind kinds[] = {api_kind<Gadget>()};
  const auto page = reference_page("Gadgets", "All of them.", kinds);
  for (const auto* part :
       {"# Gadgets\n\nAll of them.\n", "- [Gadget](#gadget): A gadget.", "## Gadget\n", "short `ga`", "Lives in a namespace",
        "| `spec` | object | required | What it should be. |", "| `spec.mode` | enum |  | How it goes. One of `Fast`, `Slow`. |",
        "| `spec.parts` | list of object | at most 5 items, key `name` | Parts. |",
        "| `spec.parts[].count` | integer | 1-9 | How many \\| which. |",
        "| `spec.passed.name` | string | required, at most 63 characters | Its name. |", "- name too long", "- `spec.parts`: not two",
        "- `spec.parts[]`: name must not be x"}) {
    INFO(part);
    CHECK(page.find(part) != std::string::npos);
  }
  CHECK(page.find("`metadata`") == std::string::npos);
  CHECK(page == reference_page("Gadgets", "All of them.", kinds));
}
