#include "controllers/common/metric_answer.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace endstate::metrics {
namespace {

using nlohmann::json;

constexpr std::size_t max_message = 300, max_value = 64;
constexpr int max_depth = 16;  // Prometheus' answers have 6: what is deeper is none

std::string clipped(std::string text, std::size_t size) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;  // not within a UTF-8 character
  text.resize(size);
  return text + "...";
}
Answer error(std::string message) { return {.kind = Answer::Kind::error, .message = clipped(std::move(message), max_message)}; }
Answer no_data(std::string message) { return {.kind = Answer::Kind::no_data, .message = std::move(message)}; }

// Go's strconv.FormatFloat(f, 'f', -1): "0.25", "1e+10" from others, "NaN", "+Inf", "-Inf".
Answer number(const json& sample) {
  if (!sample.is_array() || sample.size() != 2 || !sample[1].is_string()) return error("the answer's sample isn't [time, \"number\"]");
  const auto& text = sample[1].get_ref<const std::string&>();
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  double value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (code != std::errc() || end != digits.data() + digits.size()) return error("the answer is no number: " + text);
  if (std::isnan(value)) return no_data("the answer is NaN: no number, as of 0 divided by 0");
  return {.kind = Answer::Kind::number, .value = value, .text = text.substr(0, max_value)};
}

Answer read_result(const json& data) {
  const auto type = data.value("resultType", std::string());
  const auto it = data.find("result");
  if (it == data.end()) return error("the answer has no data.result: is this a Prometheus server?");
  if (type == "scalar") return number(*it);
  if (type == "string") return error("the answer is a text: a check needs a number");
  if (type == "matrix")
    return error("the answer is a range of values: take the range off the query, or put rate() or avg_over_time() around it");
  if (type != "vector" || !it->is_array())
    return error("the answer is of type " + (type.empty() ? "(none)" : type) + ": a check needs one number");
  if (it->empty()) return no_data("the answer is empty: no series matches the query");
  if (it->size() > 1) return error("the answer has " + std::to_string(it->size()) + " series: aggregate with sum() or max()");
  return number(it->front().value("value", json()));
}

// Not JSON at all, or cut off. The status says the most.
Answer unreadable(int status, std::string_view body) {
  const auto begin = body.find_first_not_of(" \t\r\n");
  const bool html = begin != std::string_view::npos && body[begin] == '<';
  const std::string check = ": check the MetricSource's spec.prometheus.address";
  if (status == 401 || status == 403)
    return error("the server refused us (HTTP " + std::to_string(status) + "): check the MetricSource's secretRef");
  if (status >= 300 && status < 400)
    return error("the server answered a redirect (HTTP " + std::to_string(status) + "), which is not followed" + check);
  if (html) return error("the server answered with HTML (HTTP " + std::to_string(status) + "), not with Prometheus' JSON" + check);
  if (status == 404) return error("no query API is there (HTTP 404)" + check);
  if (status != 200) return error("the server answered HTTP " + std::to_string(status) + ": " + std::string(body.substr(0, 120)));
  if (begin == std::string_view::npos) return error("the answer is empty text, not JSON" + check);
  return error("the answer is not, or not all of, a JSON text" + check);
}

Answer read_body(int status, std::string_view body) {
  bool too_deep = false;
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > max_depth;
    return !too_deep;
  };
  const auto reply = json::parse(body, shallow, false);
  if (too_deep || reply.is_discarded() || !reply.is_object()) return unreadable(status, body);
  const auto text = [&](const char* key) {
    const auto it = reply.find(key);
    return it != reply.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  if (text("status") == "error") {
    // 400 bad_data: the query's fault; 422 execution; 503 timeout, canceled, unavailable.
    const bool invalid = text("errorType") == "bad_data";
    return error((invalid ? "the query is invalid: " : "the server could not answer: ") + text("error"));
  }
  const auto data = reply.find("data");
  if (status != 200 || text("status") != "success" || data == reply.end() || !data->is_object()) return unreadable(status, body);
  return read_result(*data);
}

bool is_unreserved(char c) {  // RFC 3986, 2.3
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

}  // namespace

std::string expand(std::string_view query, const Scope& scope) {
  const std::pair<std::string_view, std::string_view> words[] = {{"$(namespace)", scope.name_space},
                                                                 {"$(cluster)", scope.cluster},
                                                                 {"$(set)", scope.set},
                                                                 {"$(revision)", scope.revision},
                                                                 {"$(step)", scope.step}};
  std::string out;
  while (!query.empty()) {
    const auto* word =
        std::find_if(std::begin(words), std::end(words), [&](const auto& w) { return !w.second.empty() && query.starts_with(w.first); });
    if (word == std::end(words)) {
      out += query.front();
      query.remove_prefix(1);
    } else {
      out += word->second;
      query.remove_prefix(word->first.size());
    }
  }
  return out;
}

std::string query_url(std::string_view address, std::string_view query) {
  while (address.ends_with('/')) address.remove_suffix(1);
  std::string out(address);
  out += "/api/v1/query?query=";
  constexpr std::string_view hex = "0123456789ABCDEF";
  for (const char c : query) {
    if (is_unreserved(c)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.append({'%', hex[byte >> 4], hex[byte & 15]});
  }
  return out;
}

reconcile::Query question(std::string id, const api::MetricSource& source, std::string_view query) {
  const auto& prometheus = source.spec.prometheus;
  const auto ref = [&](const std::optional<api::NameRef>& name, const char* key) -> std::optional<reconcile::KeyRef> {
    if (!name) return std::nullopt;
    return reconcile::KeyRef{source.metadata.name_space.str(), name->name.str(), key};
  };
  reconcile::HttpQuery http;
  http.url = query_url(prometheus.address.view(), query);
  http.bearer_token = ref(prometheus.secret_ref, "token");
  http.ca = ref(prometheus.ca_ref, "ca.crt");
  http.timeout = api::timeout(prometheus);
  reconcile::Query out;
  out.id = std::move(id);
  out.http = std::move(http);
  return out;
}

Answer read_answer(const reconcile::Fact& fact) {
  Answer answer;
  if (fact.body)
    answer = read_body(fact.status, *fact.body);
  else if (fact.status == 0 && fact.body.error().message.find("has more than") != std::string::npos)
    answer = error("the answer is too long, it may be many series: aggregate with sum() or max() (" + fact.body.error().message + ")");
  else
    answer = error(fact.body.error().message);
  answer.time = std::chrono::floor<std::chrono::seconds>(fact.time);
  return answer;
}

}  // namespace endstate::metrics
