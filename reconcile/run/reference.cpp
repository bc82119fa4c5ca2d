#include "reconcile/run/reference.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <memory>

#include "reconcile/json/decode.hpp"
#include "reconcile/kube/base64.hpp"
#include "reconcile/kube/core.hpp"
#include "reconcile/kube/secret.hpp"

namespace reconcile {
namespace {

using namespace std::chrono_literals;

constexpr auto read_timeout = 10s;

// `pick`: the text of the decoded object; an error says what is wrong with it, the caller says where.
Handle read_key(Env& env, const KeyRef& ref, const Resource& resource, std::function<Result<std::string>(std::string_view)> pick,
                std::function<void(Result<std::string>)> done) {
  const std::string where = std::string(resource.kind) + " " + ref.name_space + "/" + ref.name;
  Call call{.resource = &resource, .name_space = ref.name_space, .name = ref.name};
  call.timeout = read_timeout;
  auto body = std::make_shared<std::string>();
  return env.call(
      std::move(call), [body](std::string_view frame) { body->assign(frame); },
      [body, where, pick = std::move(pick), done = std::move(done)](Result<void> end) {
        if (!end) {
          const bool gone = end.error().code == Code::not_found;
          return done(fail(end.error().code, where + ": " + (gone ? "doesn't exist" : end.error().message)));
        }
        auto text = pick(*body);
        wipe(*body);
        if (!text) return done(fail(Code::invalid, where + ": " + text.error().message));
        done(std::move(text));
      });
}

Result<std::string> missing(const std::string& key) { return fail(Code::invalid, "has no key " + key); }

}  // namespace

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

Handle read_secret_key(Env& env, const KeyRef& ref, std::function<void(Result<std::string>)> done) {
  const auto pick = [key = ref.key](std::string_view body) -> Result<std::string> {
    Pool pool;
    const auto secret = decode<SecretData>(body, pool);
    if (!secret) return fail(secret.error());
    if (!secret->data.has(key)) return missing(key);
    auto text = from_base64(secret->data.get(key));
    if (!text) return fail(Code::invalid, "data." + key + " is empty");
    while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();  // `echo token | base64`
    return std::move(*text);
  };
  return read_key(env, ref, resource_of<SecretData>, pick, std::move(done));
}

Handle read_config_key(Env& env, const KeyRef& ref, std::function<void(Result<std::string>)> done) {
  const auto pick = [key = ref.key](std::string_view body) -> Result<std::string> {
    Pool pool;
    const auto map = decode<ConfigMap>(body, pool);
    if (!map) return fail(map.error());
    if (!map->data.has(key)) return missing(key);
    return map->data.get(key).empty() ? fail(Code::invalid, "data." + key + " is empty")
                                      : Result<std::string>(std::string(map->data.get(key)));
  };
  return read_key(env, ref, resource_of<ConfigMap>, pick, std::move(done));
}

}  // namespace reconcile
