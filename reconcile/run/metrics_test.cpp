#include "reconcile/run/metrics.hpp"

#include <catch2/catch.hpp>
#include <thread>

using namespace reconcile;
using namespace std::chrono_literals;
using Catch::Contains;

TEST_CASE("metrics come out in Prometheus' text format", "[metrics]") {
  Metrics m("toy");
  m.add("passes_total", "Passes.", {{"loop", "a"}, {"result", "ok"}});
  m.add("passes_total", "Passes.", {{"loop", "a"}, {"result", "ok"}}, 2);
  m.set("depth", "Depth.", {}, 7);
  m.observe("seconds", "Time.", {{"loop", "a"}}, 3ms);
  const auto text = m.text();
  CHECK_THAT(text, Contains("# TYPE toy_passes_total counter") && Contains("toy_passes_total{loop=\"a\",result=\"ok\"} 3"));
  CHECK_THAT(text, Contains("toy_depth 7"));
  CHECK_THAT(text, Contains("toy_seconds_bucket{loop=\"a\",le=\"0.0025\"} 0") && Contains("toy_seconds_bucket{loop=\"a\",le=\"0.005\"} 1"));
  CHECK_THAT(text,
             Contains("process_resident_memory_bytes") && Contains("process_cpu_seconds_total") && Contains("process_start_time_seconds"));
}

TEST_CASE("a name keeps its type and its labels", "[metrics]") {
  Metrics m("toy");
  m.add("x", "X.", {{"loop", "a"}});
  CHECK_THROWS_AS(m.set("x", "X.", {{"loop", "a"}}, 1), std::logic_error);
  CHECK_THROWS_AS(m.add("x", "X.", {{"pool", "a"}}), std::logic_error);
  CHECK_THROWS_AS(m.add("x", "X.", {}), std::logic_error);
}

TEST_CASE("series are bounded, and go when told", "[metrics]") {
  Metrics m("toy");
  for (int i = 0; i < 5'100; ++i) m.set("x", "X.", {{"cluster", std::to_string(i)}}, i);
  CHECK_THAT(m.text(), Contains("toy_metrics_dropped_total 100") && Contains("toy_x{cluster=\"5\"} 5"));
  m.drop("x", "cluster", "5");
  CHECK_THAT(m.text(), !Contains("toy_x{cluster=\"5\"}"));
  m.set("x", "X.", {{"cluster", "new"}}, 1);
  CHECK_THAT(m.text(), Contains("toy_x{cluster=\"new\"} 1"));
}

TEST_CASE("a family is replaced as a whole", "[metrics]") {
  Metrics m("toy");
  m.replace({"machines", "Machines.", {"cluster", "phase"}, {{{"a", "Running"}, 3}, {{"b", "Running"}, 1}}});
  CHECK_THAT(m.text(), Contains("toy_machines{cluster=\"a\",phase=\"Running\"} 3") && Contains("{cluster=\"b\",phase=\"Running\"} 1"));
  m.replace({"machines", "Machines.", {"cluster", "phase"}, {{{"a", "Running"}, 2}, {{"a", "Failed"}, 1}}});
  CHECK_THAT(m.text(), Contains("{cluster=\"a\",phase=\"Running\"} 2") && Contains("phase=\"Failed\"} 1") && !Contains("cluster=\"b\""));
  m.replace({"machines", "Machines.", {"cluster", "phase"}, {}});
  CHECK_THAT(m.text(), !Contains("toy_machines"));
  m.replace({"machines", "Machines.", {"cluster", "phase"}, {{{"b", "Running"}, 4}}});
  CHECK_THAT(m.text(), Contains("toy_machines{cluster=\"b\",phase=\"Running\"} 4"));
  CHECK_THROWS_AS(m.replace({"machines", "Machines.", {"cluster", "phase"}, {{{"b"}, 4}}}), std::logic_error);
  CHECK_THROWS_AS(m.replace({"machines", "Machines.", {"cluster"}, {{{"b"}, 4}}}), std::logic_error);
}

TEST_CASE("metrics are counted from several threads", "[metrics]") {
  Metrics m("toy");
  const auto work = [&m] {
    for (int i = 0; i < 5'000; ++i) m.add("x", "X.", {{"k", std::to_string(i % 7)}});
  };
  std::thread other(work);
  work();
  m.text();
  other.join();
  CHECK_THAT(m.text(), Contains("toy_x{k=\"0\"} 1430"));
}

TEST_CASE("metrics: a name that Prometheus doesn't take is refused each time", "[metrics]") {
  Metrics m("toy");
  for (int i = 0; i < 2; ++i) CHECK_THROWS(m.add("not a name", "", {{"a", "b"}}));
  m.add("a_name", "", {{"a", "b"}});
  CHECK(m.text().find("toy_a_name{a=\"b\"} 1\n") != std::string::npos);
}
