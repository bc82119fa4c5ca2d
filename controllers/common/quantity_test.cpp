#include "controllers/common/quantity.hpp"

#include <catch2/catch.hpp>
#include <limits>

using endstate::parse_quantity;

TEST_CASE("quantities are read as Kubernetes reads them", "[quantity]") {
  struct Row {
    std::string_view text, same;
  };
  // Each is written in two ways; apimachinery's quantity_test.go has most of them.
  const Row same[] = {{"1", "1000m"},
                      {"1k", "1000"},
                      {"1Ki", "1024"},
                      {"1.5Gi", "1610612736"},
                      {"12e6", "12M"},
                      {"12E6", "12M"},
                      {"1e3", "1k"},
                      {"1E", "1000P"},
                      {"1Ei", "1024Pi"},
                      {"100000u", "100m"},
                      {"1n", "0.000000001"},
                      {"0.5", "500m"},
                      {".5", "500m"},
                      {"5.", "5"},
                      {"+5", "5"},
                      {"0", "0Gi"},
                      {"1e-3", "1m"},
                      {"1e+3", "1k"},
                      {"-1", "-1000m"},
                      {"00012", "12"},
                      {"0.0000000001", "1n"},
                      {"-0.0000000001", "-1n"},
                      {"1.0000000001Ki", "1024.0000001024"},
                      {"123456789012345678901234567890", "9223372036854775807"},
                      {"9999999Pi", "9223372036854775807"},
                      {"10Ei", "9223372036854775807"},
                      {"1e1000", "1e999"},
                      {"1e-1000", "1n"},
                      {"0.00000000000000000000000000000000000001Ei", "1n"}};
  for (const auto& row : same) {
    INFO(row.text);
    REQUIRE(parse_quantity(row.text));
    CHECK(parse_quantity(row.text) == parse_quantity(row.same));
  }
  for (const auto* text : {"",   "Gi",   ".",     "-",   "1 ",   " 1",  "1Gi ", "1GB",  "1K",   "1mi",  "1ki",
                           "1e", "1e3k", "1.2.3", "1EE", "0x10", "inf", "nan",  "many", "1ee3", "1e1.5"})
    CHECK_FALSE(parse_quantity(text));
  CHECK(parse_quantity("1k") > parse_quantity("999"));
  CHECK(parse_quantity("1.5Gi")->whole() == 3LL << 29);
  CHECK(parse_quantity("1m")->whole() == 1);  // rounded up
  CHECK(parse_quantity("10Ei")->whole() == std::numeric_limits<std::int64_t>::max());
}
