#include "src/kubectl/secret.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "apis/v1alpha1/names.hpp"
#include "reconcile/kube/base64.hpp"

namespace endstate::kubectl {

namespace api = v1alpha1;
using reconcile::Code, reconcile::Result;

Result<std::string> kubeconfig_secret(const api::Cluster& cluster) {
  const auto& plane = cluster.spec.control_plane;
  if (plane.type == api::ControlPlaneType::hosted) return cluster.metadata.name.str() + "-kubeconfig";
  if (plane.kubeconfig_secret) return plane.kubeconfig_secret->name.str();
  return reconcile::fail(Code::not_found, "Cluster " + cluster.metadata.name.str() +
                                              " is the cluster that you are speaking to (type External, without a kubeconfigSecret): "
                                              "use the kubeconfig that you have");
}

std::string why_no_kubeconfig(const api::Cluster& cluster) {
  std::string out = "Cluster " + cluster.metadata.name.str() + " has no kubeconfig yet";
  for (const auto type : {api::condition::stalled, api::condition::ready})
    if (const auto* c = reconcile::find_condition(cluster.status.conditions, type);
        c && (type == api::condition::stalled) == (c->status == api::ConditionStatus::true_))
      return out + ": " + c->reason.str() + (c->message.empty() ? "" : ": " + c->message.str());
  return out + ": nothing is said of it, so perhaps no operator runs";
}

Result<std::string> kubeconfig_of(std::string_view secret) {
  const auto object = nlohmann::json::parse(secret, nullptr, false);
  const auto data = object.is_object() ? object.value("data", nlohmann::json::object()) : nlohmann::json::object();
  if (!data.is_object() || !data.contains("value") || !data["value"].is_string())
    return reconcile::fail(Code::invalid, "the Secret has no data.value");
  auto text = reconcile::from_base64(data["value"].get<std::string>());
  if (!text) return reconcile::fail(Code::invalid, "the Secret's data.value is no base64");
  return *text;
}

Result<void> write_private(const std::string& file, std::string_view text) {
  const auto part = file + ".part-" + std::to_string(getpid());
  const auto trouble = [&](const char* what) {
    const std::string why = std::strerror(errno);
    unlink(part.c_str());
    return reconcile::fail(Code::invalid, std::string(what) + " " + file + ": " + why);
  };
  const int fd =
      open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);  // NOLINT(cppcoreguidelines-pro-type-vararg)
  if (fd < 0) return trouble("can't write");
  while (!text.empty()) {
    const auto n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      close(fd);
      return trouble("can't write");
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (close(fd) != 0) return trouble("can't write");
  if (rename(part.c_str(), file.c_str()) != 0) return trouble("can't make");
  return {};
}

}  // namespace endstate::kubectl
