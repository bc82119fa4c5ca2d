#include "reconcile/kube/url.hpp"

#include <algorithm>
#include <array>

#include "reconcile/json/encode.hpp"
#include "reconcile/kube/credentials.hpp"

namespace reconcile {
namespace {

bool unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

bool control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// path.IsValidPathSegmentName of apimachinery, and no control characters (a NUL or a newline has no place in a URL).
Result<void> check_segment(std::string_view what, std::string_view segment) {
  if (segment == "." || segment == "..") return fail(Code::invalid, std::string(what) + ": may not be '" + std::string(segment) + "'");
  for (const char c : segment)
    if (c == '/' || c == '%' || control(c))
      return fail(Code::invalid, std::string(what) + ": may not contain '/', '%' or control characters");
  return {};
}

// Text that is meant to be encoded already holds printable ASCII only, and nothing that would start another part of the URL.
Result<void> check_encoded(std::string_view what, std::string_view text, std::string_view forbidden) {
  for (const char c : text)
    if (c <= ' ' || c >= 0x7f || forbidden.find(c) != std::string_view::npos)
      return fail(Code::invalid, std::string(what) + ": is not percent-encoded");
  return {};
}

Result<void> check_path(std::string_view path) {
  if (path.empty() || path.front() != '/') return fail(Code::invalid, "path: must start with '/'");
  if (auto ok = check_encoded("path", path, "?#\\\""); !ok) return ok;
  for (std::size_t at = 0; at != std::string_view::npos;) {
    const auto next = path.find('/', at + 1);
    const auto segment = path.substr(at + 1, next == std::string_view::npos ? next : next - at - 1);
    if (segment == "." || segment == "..") return fail(Code::invalid, "path: may not have '.' or '..' in it");
    at = next;
  }
  return {};
}

struct Method {
  std::string_view name, content_type;
  bool collection;
};
constexpr Method method_of(Verb verb) {
  constexpr std::array<Method, 9> methods{{{"GET", "", false},
                                           {"GET", "", true},
                                           {"GET", "", true},
                                           {"POST", "application/json", true},
                                           {"PATCH", "application/apply-patch+yaml", false},
                                           {"PUT", "application/json", false},
                                           {"PATCH", "application/merge-patch+json", false},
                                           {"PATCH", "application/json-patch+json", false},
                                           {"DELETE", "application/json", false}}};
  return methods[static_cast<std::size_t>(verb)];
}

bool has_parameter(std::string_view query, std::string_view name) {
  for (std::size_t at = 0; at <= query.size();) {
    const auto end = std::min(query.find('&', at), query.size());
    const auto pair = query.substr(at, end - at);
    if (pair.substr(0, pair.find('=')) == name) return true;
    at = end + 1;
  }
  return false;
}

Result<void> check_place(const Call& call) {
  const Resource& r = *call.resource;
  const bool everywhere = call.verb == Verb::list || call.verb == Verb::watch;
  if (r.namespaced && call.name_space.empty() && !everywhere)
    return fail(Code::invalid, "namespace: is required for " + std::string(r.plural));
  if (!r.namespaced && !call.name_space.empty()) return fail(Code::invalid, "namespace: " + std::string(r.plural) + " are cluster-scoped");
  const bool named = !method_of(call.verb).collection || (call.verb == Verb::create && !call.subresource.empty());
  if (named && call.name.empty())
    return fail(Code::invalid, "name: is required to " + std::string(verb_name(call.verb)) + " " + std::string(r.plural));
  if (everywhere && (!call.name.empty() || !call.subresource.empty()))
    return fail(Code::invalid, "name: a list or watch has none; ask by fieldSelector=metadata.name");
  for (const auto& [what, segment] : {std::pair<std::string_view, std::string_view>{"namespace", call.name_space},
                                      {"name", call.name},
                                      {"subresource", call.subresource}})
    if (auto ok = check_segment(what, segment); !ok) return ok;
  return {};
}

std::string resource_path(const Call& call) {
  const Resource& r = *call.resource;
  std::string path = r.group.empty() ? "/api/" : "/apis/";
  if (!r.group.empty()) path.append(r.group).append("/");
  path.append(r.version);
  if (!call.name_space.empty()) path.append("/namespaces/").append(percent_encode(call.name_space));
  path.append("/").append(r.plural);
  if (method_of(call.verb).collection && call.subresource.empty()) return path;
  path.append("/").append(percent_encode(call.name));
  if (!call.subresource.empty()) path.append("/").append(percent_encode(call.subresource));
  return path;
}

}  // namespace

Result<Request> request_of(const Call& call) {
  const Method method = method_of(call.verb);
  Request request{.method = method.name};
  if (call.resource) {
    if (auto ok = check_place(call); !ok) return fail(ok.error());
    request.target = resource_path(call);
  } else {
    if (auto ok = check_path(call.path); !ok) return fail(ok.error());
    request.target = call.path;
  }
  if (auto ok = check_encoded("query", call.query, "#?\"<>\\^`{|}"); !ok) return fail(ok.error());
  if (call.verb == Verb::apply && !has_parameter(call.query, "fieldManager"))
    return fail(Code::invalid, "query: an apply needs a fieldManager (see apply_query)");

  std::string query = call.query;
  if (call.verb == Verb::watch && !has_parameter(query, "watch")) query.append(query.empty() ? "" : "&").append("watch=1");
  if (!query.empty()) request.target.append("?").append(query);

  if (is_read(call.verb) && !call.body.empty()) return fail(Code::invalid, "body: a " + std::string(verb_name(call.verb)) + " has none");
  if (!is_read(call.verb) && call.verb != Verb::remove && call.body.empty())
    return fail(Code::invalid, "body: is required to " + std::string(verb_name(call.verb)));
  if (!call.body.empty()) {
    request.content_type = method.content_type;
    request.body = call.body;
  }
  return request;
}

std::string describe_call(const Call& call) {
  std::string text(verb_name(call.verb));
  text.append(" ").append(call.resource ? call.resource->plural : std::string_view(call.path));
  if (!call.name_space.empty() || !call.name.empty()) {
    text.append(" ").append(call.name_space);
    if (!call.name_space.empty() && !call.name.empty()) text.append("/");
    text.append(call.name);
  }
  if (!call.subresource.empty()) text.append(" ").append(call.subresource);
  return text;
}

Result<void> may_carry_token(std::string_view url) {
  if (!url.starts_with("http://")) return {};
  const auto authority = url.substr(0, url.find_first_of("/?#", 7));
  if (parse_server(authority)) return {};  // of this machine
  return fail(Code::invalid,
              "a bearer token is sent over https:// only (or to this machine): it could be read on the way; use https://, "
              "or take the token away");
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (unreserved(c))
      out.push_back(c);
    else
      out.append({'%', hex[static_cast<unsigned char>(c) >> 4], hex[static_cast<unsigned char>(c) & 15]});
  }
  return out;
}

std::string encode_query(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
  std::string query;
  for (const auto& [name, value] : pairs) {
    if (value.empty()) continue;
    if (!query.empty()) query.push_back('&');
    query.append(percent_encode(name)).append("=").append(percent_encode(value));
  }
  return query;
}

std::string apply_query(std::string_view field_manager) { return encode_query({{"fieldManager", field_manager}, {"force", "true"}}); }

std::string delete_options(std::string_view uid, std::string_view resource_version, std::string_view propagation,
                           std::optional<std::chrono::seconds> grace_period) {
  std::string body = R"({"kind":"DeleteOptions","apiVersion":"v1")";
  if (grace_period) body.append(",\"gracePeriodSeconds\":").append(std::to_string(grace_period->count()));
  if (!uid.empty() || !resource_version.empty()) {
    body.append(",\"preconditions\":{");
    if (!uid.empty()) body.append("\"uid\":").append(quote(uid));
    if (!uid.empty() && !resource_version.empty()) body.push_back(',');
    if (!resource_version.empty()) body.append("\"resourceVersion\":").append(quote(resource_version));
    body.push_back('}');
  }
  if (!propagation.empty()) body.append(",\"propagationPolicy\":").append(quote(propagation));
  return body.append("}");
}

}  // namespace reconcile
