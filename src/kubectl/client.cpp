#include "src/kubectl/client.hpp"

#include "src/common/version.hpp"

namespace endstate::kubectl {

using reconcile::Call, reconcile::Code, reconcile::fail, reconcile::Verb;

Client::Client(reconcile::Credentials credentials, Options options)
    : options_(options), env_({.user_agent = "kubectl-endstate/" + std::string(version)}, std::move(credentials)) {}

Result<void> Client::each(Call call, const std::function<Result<void>(std::string_view)>& item) {
  call.timeout = options_.timeout;
  std::optional<Result<void>> answer;
  Result<void> first{};
  const bool lists = call.verb == Verb::list;
  std::string held;  // a list's frames are handed on one behind: the last one is its own metadata and no item
  bool any = false;
  const auto handle = env_.call(
      std::move(call),
      [&](std::string_view frame) {
        if (!lists) {
          if (first) first = item(frame);
          return;
        }
        if (any && first) first = item(held);
        held.assign(frame);
        any = true;
      },
      [&](Result<void> end) {
        answer = std::move(end);
        env_.stop();
      });
  env_.run();
  if (!answer) return fail(Code::cancelled, "the request was ended");
  if (!*answer) return *answer;
  return first;
}

Result<std::string> Client::send(Call call) {
  const bool lists = call.verb == Verb::list;
  std::string body = lists ? "{\"items\":[" : "";
  bool more = false;
  auto done = each(std::move(call), [&](std::string_view frame) -> Result<void> {
    if (more && lists) body += ',';
    body.append(frame);
    more = true;
    return {};
  });
  if (!done) return fail(std::move(done.error()));
  if (lists) body += "]}";
  return body;
}

void Client::sleep(std::chrono::milliseconds time) {
  const auto handle = env_.at(env_.now().mono + time, [this] { env_.stop(); });
  env_.run();
}

}  // namespace endstate::kubectl
