#include "reconcile/kube/api_error.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

namespace reconcile {
namespace {

using nlohmann::json;

constexpr std::size_t max_status = 1 << 20;
constexpr std::size_t max_message = 2048, max_foreign_body = 1024, max_causes = 16;

std::string text_at(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::int64_t number_at(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<std::int64_t>() : 0;
}

struct Status {
  int code = 0;
  std::string reason, message, fields;
  std::int64_t retry_after_seconds = 0;
  bool version_too_large = false, another_uid = false;
};

void read_causes(const json& details, Status& status) {
  const auto causes = details.find("causes");
  if (causes == details.end() || !causes->is_array()) return;
  for (const auto& cause : *causes) {
    if (!cause.is_object()) continue;
    if (text_at(cause, "reason") == "ResourceVersionTooLarge") status.version_too_large = true;
    const std::string field = text_at(cause, "field");
    if (field == "metadata.uid") status.another_uid = true;
    // The message of the API server names most fields already.
    if (field.empty() || status.message.find(field) != std::string::npos || status.fields.find(field) != std::string::npos) continue;
    if (std::count(status.fields.begin(), status.fields.end(), ';') >= static_cast<std::ptrdiff_t>(max_causes)) return;
    status.fields.append("; ").append(field).append(": ").append(text_at(cause, "message"));
  }
}

std::optional<Status> read_status(const json& body) {
  if (!body.is_object() || text_at(body, "kind") != "Status") return std::nullopt;
  Status status;
  status.code = static_cast<int>(number_at(body, "code"));
  status.reason = text_at(body, "reason");
  status.message = text_at(body, "message");
  if (const auto details = body.find("details"); details != body.end() && details->is_object()) {
    status.retry_after_seconds = std::clamp<std::int64_t>(number_at(*details, "retryAfterSeconds"), 0, 3600);
    read_causes(*details, status);
  }
  return status;
}

// A Status is flat: what nests deeper is not one, and is refused before it can exhaust the stack.
json parse_flat(std::string_view text) {
  if (text.size() > max_status) return json::value_t::discarded;
  bool too_deep = false;
  const auto limit = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > 16;
    return !too_deep;
  };
  json parsed = json::parse(text, limit, false);
  return too_deep ? json(json::value_t::discarded) : parsed;
}

Code code_of(int http_status, std::string_view reason, bool write) {
  if (reason == "Expired" || reason == "Gone") return Code::gone;
  switch (http_status) {
    case 404: return Code::not_found;
    case 409: return reason == "AlreadyExists" ? Code::exists : Code::conflict;
    case 410: return Code::gone;
    case 401:
    case 403: return Code::forbidden;
    case 408: return write ? Code::maybe_done : Code::unavailable;
    case 429: return Code::throttled;
    case 500: return write && reason != "InternalError" ? Code::maybe_done : Code::unavailable;
    case 502:
    case 504: return write ? Code::maybe_done : Code::unavailable;
    default: return http_status >= 400 && http_status < 500 ? Code::invalid : Code::unavailable;
  }
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  if (text.size() > limit) out.append("...");
  return out;
}

// Validation says what it judged by ("... regex used for validation is '...'", "should match '...'"; apimachinery's RegexError and kube's
// structural schemas). That helps nobody who reads a status or a log.
std::string without_patterns(std::string text) {
  constexpr std::size_t short_enough = 24;
  for (const std::string_view before : {"regex used for validation is '", "should match '"}) {
    for (std::size_t at = 0; (at = text.find(before, at)) != std::string::npos;) {
      at += before.size();
      auto end = text.find("')", at);  // RegexError's closing bracket
      if (before.starts_with("should")) end = std::min(text.find("',", at), text.find("';", at));
      if (end == std::string::npos) end = text.rfind('\'');
      if (end == std::string::npos || end <= at || end - at <= short_enough) continue;
      text.replace(at, end - at, "...");
    }
  }
  return text;
}

Error error_of(int http_status, const std::optional<Status>& status, std::string_view body, bool write,
               std::chrono::milliseconds retry_after) {
  if (!status) {
    std::string message = "the server answered HTTP " + std::to_string(http_status);
    if (!body.empty()) message.append(": ").append(printable(body, max_foreign_body));
    return {code_of(http_status, "", write), std::move(message), retry_after, {}};
  }
  const int code = http_status != 0 ? http_status : status->code;
  // eviction.go of kube-apiserver answers a pod under two budgets so, and gives no reason (seen on 1.34): nothing was done.
  const bool two_budgets = code == 500 && status->message.find("more than one PodDisruptionBudget") != std::string::npos;
  const std::string reason = two_budgets && status->reason.empty() ? "InternalError" : status->reason;
  std::string message = status->message.empty() ? "the server answered HTTP " + std::to_string(code) : status->message;
  if (retry_after.count() == 0) retry_after = std::chrono::seconds(status->retry_after_seconds);
  const bool mismatch = code == 422 && status->another_uid;
  return {mismatch ? Code::conflict : code_of(code, reason, write), printable(without_patterns(message + status->fields), max_message),
          retry_after, status->version_too_large ? "ResourceVersionTooLarge" : reason};
}

}  // namespace

Error api_error(int http_status, std::string_view body, bool write, std::chrono::milliseconds retry_after) {
  return error_of(http_status, read_status(parse_flat(body)), body, write, retry_after);
}

std::optional<Error> watch_error(std::string_view frame) {
  // {"type":"ERROR": the API server writes the type first; another server may write the object first, so look at both ends.
  constexpr std::string_view needle = "\"ERROR\"";
  if (frame.substr(0, 64).find(needle) == std::string_view::npos &&
      frame.substr(frame.size() - std::min<std::size_t>(frame.size(), 64)).find(needle) == std::string_view::npos)
    return std::nullopt;
  const json event = parse_flat(frame);
  if (!event.is_object() || text_at(event, "type") != "ERROR") return std::nullopt;
  const auto object = event.find("object");
  auto status = object == event.end() ? std::nullopt : read_status(*object);
  if (!status)
    return Error{Code::unavailable, "the watch ended with an error that is no Status: " + printable(frame, max_foreign_body), {}, {}};
  return error_of(0, status, {}, false, {});
}

}  // namespace reconcile
