#include "src/kubectl/secret.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "apis/v1alpha1/names.hpp"

using namespace endstate::kubectl;
namespace api = endstate::v1alpha1;

TEST_CASE("which Secret holds a cluster's kubeconfig", "[kubeconfig]") {
  api::Cluster c;
  c.metadata.name = "hz-a";
  c.spec.control_plane.type = api::ControlPlaneType::hosted;
  CHECK(*kubeconfig_secret(c) == "hz-a-kubeconfig");
  c.spec.control_plane.type = api::ControlPlaneType::external;
  REQUIRE_FALSE(kubeconfig_secret(c));
  CHECK(kubeconfig_secret(c).error().message.find("the kubeconfig that you have") != std::string::npos);
  c.spec.control_plane.kubeconfig_secret = api::NameRef{"kc"};
  CHECK(*kubeconfig_secret(c) == "kc");
}

TEST_CASE("why a hosted cluster has none yet", "[kubeconfig]") {
  api::Cluster c;
  c.metadata.name = "hz-a";
  CHECK(why_no_kubeconfig(c).find("perhaps no operator runs") != std::string::npos);
  const auto condition = [&](std::string_view type, api::ConditionStatus status, std::string_view reason, std::string_view message) {
    reconcile::set_condition(c.status.conditions, {.type = type, .status = status, .reason = reason, .message = message}, {});
  };
  condition("Ready", api::ConditionStatus::false_, "ControlPlaneCreating", "not ready: etcd 0 of 3");
  condition("Stalled", api::ConditionStatus::false_, "NotStalled", "");
  CHECK(why_no_kubeconfig(c) == "Cluster hz-a has no kubeconfig yet: ControlPlaneCreating: not ready: etcd 0 of 3");
  condition("Stalled", api::ConditionStatus::true_, "InvalidSpec", "the ranges overlap");
  CHECK(why_no_kubeconfig(c) == "Cluster hz-a has no kubeconfig yet: InvalidSpec: the ranges overlap");
}

TEST_CASE("a kubeconfig comes out of its Secret, and errors hold nothing of it", "[kubeconfig]") {
  CHECK(*kubeconfig_of(R"({"kind":"Secret","data":{"value":"a3ViZWNvbmZpZw=="}})") == "kubeconfig");
  for (const auto* bad : {"", "{}", R"({"data":{}})", R"({"data":{"value":1}})", R"({"data":{"value":"top secret!"}})"}) {
    const auto out = kubeconfig_of(bad);
    REQUIRE_FALSE(out);
    CHECK(out.error().message.find("top secret") == std::string::npos);
  }
}

TEST_CASE("a file that only its owner can read, whatever stood there", "[kubeconfig]") {
  std::string folder = "/tmp/endstate-kubeconfig-XXXXXX";
  REQUIRE(mkdtemp(folder.data()));
  const auto file = folder + "/kubeconfig";
  std::ofstream(file) << "old";
  REQUIRE(chmod(file.c_str(), 0644) == 0);
  REQUIRE(write_private(file, "new"));
  struct stat now {};
  REQUIRE(stat(file.c_str(), &now) == 0);
  CHECK((now.st_mode & 0777) == 0600);
  std::ifstream in(file);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "new");
  const auto bad = write_private(folder + "/no/such/folder", "x");
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message.find("No such file") != std::string::npos);
  CHECK(unlink(file.c_str()) == 0);
  CHECK(rmdir(folder.c_str()) == 0);
}
