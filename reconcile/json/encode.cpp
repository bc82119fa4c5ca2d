#include "reconcile/json/encode.hpp"

#include <array>
#include <cstdio>

namespace reconcile {
namespace {

using Kind = Type::Kind;

// The length of the UTF-8 sequence at the front, or 0 if it isn't one (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF).
std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) { return byte(i) >= low && byte(i) <= high; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) return tail(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF) && tail(2) ? 3 : 0;
  if (first >= 0xF0 && first <= 0xF4)
    return tail(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

void put_escaped(std::string& out, unsigned char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  std::array<char, 8> hex{};
  std::snprintf(hex.data(), hex.size(), "\\u%04x", c);
  out += hex.data();
}

void put_string(std::string& out, std::string_view s) {
  out += '"';
  while (!s.empty()) {
    const auto c = static_cast<unsigned char>(s[0]);
    const std::size_t length = utf8_length(s);
    if (length == 0)
      out += "\\ufffd";
    else if (c < 0x20 || c == '"' || c == '\\')
      put_escaped(out, c);
    else
      out.append(s.substr(0, length));
    s.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

template <class T>
const T& as(const void* value) {
  return *static_cast<const T*>(value);
}

std::string_view word(const Type& type, const void* value) {
  const auto i = as<std::uint8_t>(value);
  return i < type.names.size() ? type.names[i] : unknown_word(i);
}

bool absent(const Type& type, const void* value);

// The address of a field of a const object: `at` computes an address and nothing else.
const void* field_at(const Field& field, const void* object) { return field.at(const_cast<void*>(object)); }

bool all_fields_absent(const Type& type, const void* value) {
  for (const Field& field : type.fields)
    if (field.rules.required || !absent(*field.type, field_at(field, value))) return false;
  return true;
}

bool absent(const Type& type, const void* value) {
  switch (type.kind) {
    case Kind::boolean:
    case Kind::integer:
    case Kind::seconds:
    case Kind::int_or_percent: return false;
    case Kind::string: return as<std::string>(value).empty();
    case Kind::text: return as<Text>(value).empty();
    case Kind::names: return word(type, value).empty();
    case Kind::time: return as<WallTime>(value) == WallTime{};
    case Kind::micro_time: return as<MicroTime>(value).time == WallTime{};
    case Kind::labels: return as<Labels>(value).empty();
    case Kind::json: return as<Json>(value).raw.empty();
    case Kind::list:
    case Kind::optional: return type.items(value).empty();
    case Kind::object: return all_fields_absent(type, value);
  }
  return false;
}

void put_fields(std::string& out, const Type& type, const void* value, bool first) {
  for (const Field& field : type.fields) {
    const void* at = field_at(field, value);
    if (!field.rules.required && absent(*field.type, at)) continue;
    if (!first) out += ',';
    first = false;
    out.append("\"").append(field.name).append("\":");  // names of fields need no escaping
    encode_to(out, *field.type, at);
  }
}

void put_list(std::string& out, const Type& type, const void* value) {
  out += '[';
  const auto bytes = type.items(value);
  for (std::size_t i = 0; i < bytes.size(); i += type.stride) {
    if (i > 0) out += ',';
    encode_to(out, *type.item, bytes.data() + i);
  }
  out += ']';
}

void put_labels(std::string& out, const Labels& labels) {
  out += '{';
  bool first = true;
  for (const auto& [key, value] : labels) {
    if (!first) out += ',';
    first = false;
    put_string(out, key);
    out += ':';
    put_string(out, value);
  }
  out += '}';
}

void put_int_or_percent(std::string& out, const IntOrPercent& value) {
  if (value.percent)
    out.append("\"").append(std::to_string(value.value)).append("%\"");
  else
    out += std::to_string(value.value);
}

}  // namespace

void encode_to(std::string& out, const Type& type, const void* value) {
  switch (type.kind) {
    case Kind::boolean: out += as<bool>(value) ? "true" : "false"; break;
    case Kind::integer: out += std::to_string(as<std::int64_t>(value)); break;
    case Kind::seconds: out += std::to_string(as<std::chrono::seconds>(value).count()); break;
    case Kind::string: put_string(out, as<std::string>(value)); break;
    case Kind::text: put_string(out, as<Text>(value)); break;
    case Kind::names: put_string(out, word(type, value)); break;
    case Kind::time: put_string(out, format_rfc3339(as<WallTime>(value))); break;
    case Kind::micro_time: put_string(out, format_rfc3339_micro(as<MicroTime>(value).time)); break;
    case Kind::int_or_percent: put_int_or_percent(out, as<IntOrPercent>(value)); break;
    case Kind::labels: put_labels(out, as<Labels>(value)); break;
    case Kind::json: out += as<Json>(value).raw.empty() ? std::string_view("null") : as<Json>(value).raw.view(); break;
    case Kind::list: put_list(out, type, value); break;
    case Kind::optional:
      if (const auto item = type.items(value); item.empty())
        out += "null";
      else
        encode_to(out, *type.item, item.data());
      break;
    case Kind::object:
      out += '{';
      put_fields(out, type, value, true);
      out += '}';
      break;
  }
}

std::string encode_object(std::string_view api_version, std::string_view kind, const Type& type, const void* value) {
  std::string out = "{\"apiVersion\":" + quote(api_version) + ",\"kind\":" + quote(kind);
  put_fields(out, type, value, false);
  return out + "}";
}

std::string quote(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  put_string(out, text);
  return out;
}

std::string pointer(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

std::string hash_of(std::string_view canonical) {
  constexpr std::string_view alphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : canonical) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  std::string out;
  for (int i = 0; i < 10; ++i, hash /= alphabet.size()) out += alphabet[hash % alphabet.size()];
  return out;
}

}  // namespace reconcile
