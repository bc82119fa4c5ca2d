// The cluster that these tests run on, and one call to it. Only for tests.
#pragma once
#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "reconcile/kube/credentials.hpp"
#include "reconcile/kube/curl_env.hpp"

namespace endstate::conformance {

// ENDSTATE_TEST_KUBECONFIG: an administrator of a cluster that may be written to.
inline reconcile::Credentials administrator() {
  const char* const file = std::getenv("ENDSTATE_TEST_KUBECONFIG");
  if (file == nullptr) throw std::runtime_error("set ENDSTATE_TEST_KUBECONFIG to the kubeconfig of a test cluster");
  auto credentials = reconcile::kubeconfig_file(file);
  if (!credentials) throw std::runtime_error(credentials.error().message);
  return *credentials;
}

// Runs the Env until the call has ended; its object, or its error.
inline reconcile::Result<nlohmann::json> ask(reconcile::CurlEnv& env, reconcile::Call call) {
  std::string body;
  std::optional<reconcile::Result<void>> end;
  const auto handle = env.call(
      std::move(call), [&](std::string_view frame) { body = frame; },
      [&](reconcile::Result<void> result) {
        end = std::move(result);
        env.stop();
      });
  env.run();
  REQUIRE(end);
  if (!*end) return reconcile::fail(end->error());
  return nlohmann::json::parse(body);
}

}  // namespace endstate::conformance
