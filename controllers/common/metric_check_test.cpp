#include "controllers/common/metric_check.hpp"

#include <catch2/catch.hpp>

using namespace endstate::metrics;
using api::CheckOperator, api::CheckResult, api::CheckStatus, api::MetricCheck, api::OnNoData;
using std::chrono::seconds;

namespace {

const reconcile::WallTime start{std::chrono::sys_days(std::chrono::year(2026) / 11 / 23)};

reconcile::Fact fact_of(std::string body, int status = 200, reconcile::WallTime time = start) {
  reconcile::Fact f;
  f.body = std::move(body);
  f.status = status;
  f.time = time;
  return f;
}
std::string vector_of(const std::string& samples) {
  return R"({"status":"success","data":{"resultType":"vector","result":[)" + samples + "]}}";
}
std::string sample(const std::string& value) { return R"({"metric":{"a":"b"},"value":[1700000000.5,")" + value + R"("]})"; }

Answer number_of(double value, reconcile::WallTime time = start) {
  return {.kind = Answer::Kind::number, .value = value, .text = std::to_string(value), .time = time};
}
Answer error_at(reconcile::WallTime time) { return {.kind = Answer::Kind::error, .message = "no answer", .time = time}; }
Answer nothing_at(reconcile::WallTime time) { return {.kind = Answer::Kind::no_data, .message = "empty", .time = time}; }

MetricCheck check_of(CheckOperator op, std::string_view threshold, std::string_view failure = {}) {
  MetricCheck c;
  c.name = "errors";
  c.operator_ = op;
  c.threshold = threshold;
  c.failure_threshold = failure;
  return c;
}

}  // namespace

TEST_CASE("metric check: a query's words are replaced, and it is percent-encoded", "[metric_check]") {
  const Scope scope{.name_space = "prod", .cluster = "blue", .set = {}, .revision = "abc", .step = "first"};
  CHECK(expand("up{ns=\"$(namespace)\",c=\"$(cluster)\",r=\"$(revision)\"} $(set) $(nope) $( $$(step)", scope) ==
        "up{ns=\"prod\",c=\"blue\",r=\"abc\"} $(set) $(nope) $( $first");
  CHECK(query_url("http://prom:9090/", "sum(up{a=\"b\"}) + 1 ≥") ==
        "http://prom:9090/api/v1/query?query=sum%28up%7Ba%3D%22b%22%7D%29%20%2B%201%20%E2%89%A5");
  api::MetricSource source;
  source.metadata.name_space = "ns";
  source.spec.prometheus.address = "https://x";
  source.spec.prometheus.secret_ref = api::NameRef{"token"};
  source.spec.prometheus.timeout = seconds(3);
  const auto q = question("id", source, "1");
  REQUIRE(q.http);
  CHECK(q.http->url == "https://x/api/v1/query?query=1");
  CHECK(q.http->bearer_token->name_space == "ns");
  CHECK(q.http->bearer_token->name == "token");
  CHECK(q.http->bearer_token->key == "token");
  CHECK_FALSE(q.http->ca);
  CHECK(q.http->timeout == seconds(3));
}

TEST_CASE("metric check: whatever a server may answer is one number, no data, or an error that says what to do", "[metric_check]") {
  using enum Answer::Kind;
  struct Row {
    reconcile::Fact fact;
    Answer::Kind kind;
    std::string says;  // the number, or a part of the message
  };
  reconcile::Fact silent;
  silent.body = reconcile::fail(reconcile::Code::unavailable, "GET http://prom/api/v1/query: no reply within 10000 ms");
  reconcile::Fact too_long;
  too_long.body = reconcile::fail(reconcile::Code::invalid, "GET http://prom: the reply has more than 65536 bytes");
  const std::vector<Row> table{
      {fact_of(R"({"status":"success","data":{"resultType":"scalar","result":[1700000000,"2.5"]}})"), number, "2.5"},
      {fact_of(vector_of(sample("0"))), number, "0"},
      {fact_of(vector_of(sample("-1e-7"))), number, "-1e-7"},
      {fact_of(vector_of(sample("+Inf"))), number, "+Inf"},
      {fact_of(vector_of(sample("-Inf"))), number, "-Inf"},
      {fact_of(vector_of(sample("NaN"))), no_data, "NaN"},
      {fact_of(vector_of("")), no_data, "no series matches"},
      {fact_of(vector_of(sample("1") + "," + sample("2"))), error, "2 series: aggregate with sum() or max()"},
      {fact_of(vector_of(sample("zero"))), error, "no number: zero"},
      {fact_of(vector_of(R"({"metric":{},"value":[1]})")), error, "sample"},
      {fact_of(vector_of(R"({"metric":{}})")), error, "sample"},
      {fact_of(R"({"status":"success","data":{"resultType":"string","result":[1,"x"]}})"), error, "a text"},
      {fact_of(R"({"status":"success","data":{"resultType":"matrix","result":[]}})"), error, "range"},
      {fact_of(R"({"status":"success","data":{"resultType":"vector"}})"), error, "data.result"},
      {fact_of(R"({"status":"success"})"), error, "address"},
      {fact_of(R"({"status":"error","errorType":"bad_data","error":"1:5: parse error: unclosed left parenthesis"})", 400), error,
       "the query is invalid: 1:5: parse error: unclosed left parenthesis"},
      {fact_of(R"({"status":"error","errorType":"timeout","error":"query timed out"})", 503), error, "could not answer: query timed out"},
      {fact_of("<!DOCTYPE html><html>login</html>"), error, "HTML"},
      {fact_of("  <html>Bad gateway</html>", 502), error, "HTML (HTTP 502)"},
      {fact_of("", 302), error, "redirect"},
      {fact_of("Unauthorized", 401), error, "secretRef"},
      {fact_of("<html>", 403), error, "secretRef"},
      {fact_of("404 page not found", 404), error, "HTTP 404"},
      {fact_of("busy", 503), error, "HTTP 503: busy"},
      {fact_of(""), error, "empty text"},
      {fact_of(vector_of(sample("1")).substr(0, 60)), error, "not all of, a JSON text"},
      {fact_of(std::string(60'000, '[')), error, "JSON"},
      {fact_of("[]"), error, "JSON"},
      {silent, error, "no reply within 10000 ms"},
      {too_long, error, "aggregate with sum() or max()"},
  };
  for (const auto& row : table) {
    INFO((row.fact.body ? row.fact.body->substr(0, 80) : row.fact.body.error().message));
    const auto answer = read_answer(row.fact);
    CHECK(answer.kind == row.kind);
    INFO(answer.text << answer.message);
    CHECK((row.kind == number ? answer.text == row.says : answer.message.find(row.says) != std::string::npos));
    CHECK(answer.message.size() <= 303);
  }
}

TEST_CASE("metric check: what an answer means", "[metric_check]") {
  using enum Verdict;
  using enum CheckOperator;
  struct Row {
    MetricCheck check;
    double value;
    Verdict verdict;
  };
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<Row> table{
      {check_of(less, "0.05"), 0.04, good},
      {check_of(less, "0.05"), 0.05, bad},
      {check_of(less_or_equal, "0.05"), 0.05, good},
      {check_of(greater, "10"), 10, bad},
      {check_of(greater_or_equal, "10"), 10, good},
      {check_of(greater_or_equal, "-1.5"), -1, good},
      {check_of(less, "0.05", "0.10"), 0.07, inconclusive},
      {check_of(less, "0.05", "0.10"), 0.10, bad},
      {check_of(less, "0.05", "0.10"), 0.04, good},
      {check_of(greater, "99", "95"), 97, inconclusive},
      {check_of(greater, "99", "95"), 95, bad},
      {check_of(less, "1"), inf, bad},
      {check_of(greater, "1"), inf, error},
      {check_of(less, "1"), -inf, error},
      {check_of(less, "much"), 1, error},
  };
  for (const auto& row : table) {
    INFO(row.value << " against " << row.check.threshold.view() << " / " << row.check.failure_threshold.view());
    CHECK(judge(row.check, number_of(row.value)).verdict == row.verdict);
  }
  CHECK(judge(check_of(less, "0.05"), {.kind = Answer::Kind::number, .value = 0.2, .text = "0.2"}).message == "0.2, wanted < 0.05");
  auto check = check_of(less, "1");
  CHECK(judge(check, nothing_at(start)).verdict == inconclusive);
  check.on_no_data = OnNoData::fail;
  CHECK(judge(check, nothing_at(start)).verdict == bad);
  check.on_no_data = OnNoData::ignore;
  CHECK(judge(check, nothing_at(start)).verdict == good);
  CHECK(judge(check, error_at(start)).verdict == error);  // silence is not "no data"
}

TEST_CASE("metric check: answers are counted up to the limits", "[metric_check]") {
  auto check = check_of(CheckOperator::less, "1", "2");
  check.count = 3;
  check.failure_limit = 1;
  check.inconclusive_limit = 2;
  check.error_limit = 2;
  struct Row {
    std::string answers;  // g(ood) b(ad) i(nconclusive) n(o data) e(rror)
    CheckResult result;
  };
  const std::vector<Row> table{
      {"", CheckResult::running},          {"gg", CheckResult::running},
      {"ggg", CheckResult::passed},        {"gbgg", CheckResult::passed},
      {"bgb", CheckResult::failed},        {"bb", CheckResult::failed},
      {"iig", CheckResult::running},       {"ini", CheckResult::inconclusive},
      {"iigi", CheckResult::inconclusive}, {"eeg", CheckResult::running},
      {"eee", CheckResult::inconclusive},  {"eegeeg", CheckResult::running},
      {"eeieei", CheckResult::running},    {"eegeegg", CheckResult::passed},
      {"gggbbbb", CheckResult::passed},    {"eeeggg", CheckResult::inconclusive},
  };
  for (const auto& row : table) {
    INFO(row.answers);
    CheckStatus status;
    auto time = start;
    for (const char c : row.answers) {
      time += seconds(60);
      const auto answer = c == 'g'   ? number_of(0, time)
                          : c == 'b' ? number_of(3, time)
                          : c == 'i' ? number_of(1.5, time)
                          : c == 'n' ? nothing_at(time)
                                     : error_at(time);
      advance(status, check, answer);
      const auto once = status;
      advance(status, check, answer);  // the same answer again: after a restart, in another pass
      CHECK(status == once);
    }
    CHECK(status.result == row.result);
  }
}

TEST_CASE("metric check: a budget's check never ends", "[metric_check]") {
  auto check = check_of(CheckOperator::less, "1", "2");
  check.failure_limit = 1;
  check.inconclusive_limit = 1;
  check.error_limit = 1;
  struct Row {
    std::string answers;
    CheckResult result;
  };
  const std::vector<Row> table{
      {"", CheckResult::running},         {"e", CheckResult::running},   {"g", CheckResult::passed},
      {"gb", CheckResult::passed},        {"gbb", CheckResult::failed},  {"gbgb", CheckResult::passed},
      {"gbeb", CheckResult::failed},      {"gbbg", CheckResult::passed}, {"gbbe", CheckResult::failed},
      {"gee", CheckResult::inconclusive}, {"geeg", CheckResult::passed}, {"gii", CheckResult::inconclusive},
      {"bb", CheckResult::failed},        {"b", CheckResult::running},   {"giei", CheckResult::inconclusive},
  };
  for (const auto& row : table) {
    INFO(row.answers);
    CheckStatus status;
    auto time = start;
    for (const char c : row.answers) {
      time += seconds(60);
      advance_endless(status, check,
                      c == 'g'   ? number_of(0, time)
                      : c == 'b' ? number_of(3, time)
                      : c == 'i' ? number_of(1.5, time)
                                 : error_at(time));
    }
    CHECK(status.result == row.result);
  }
}

TEST_CASE("metric check: intervals are kept, also over a clock that jumps", "[metric_check]") {
  auto check = check_of(CheckOperator::less, "1");
  check.interval = seconds(30);
  CheckStatus status;
  CHECK(due_in(check, status, start) == seconds(0));
  status.time = start;
  CHECK(due_in(check, status, start + seconds(10)) == seconds(20));
  CHECK(due_in(check, status, start + seconds(30)) == seconds(0));
  CHECK(due_in(check, status, start + std::chrono::hours(24)) == seconds(0));
  CHECK(due_in(check, status, start - std::chrono::hours(1)) == seconds(0));  // the clock went back: nothing waits for an hour
}
