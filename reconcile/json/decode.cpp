#include "reconcile/json/decode.hpp"

#include <simdjson.h>

#include <charconv>
#include <cstring>
#include <optional>

namespace reconcile {
namespace {

using simdjson::ondemand::json_type;
using Kind = Type::Kind;
using Value = simdjson::ondemand::value;

constexpr std::size_t kept_buffer = 1 << 20;  // a bigger one is given back after use

// One a thread: simdjson's parser is not to be shared, and making one for each of 50,000 objects costs more than parsing them.
struct Scratch {
  simdjson::ondemand::parser parser;
  std::string padded;
};
Scratch& scratch() {
  thread_local Scratch s;
  return s;
}

class Decoder {
 public:
  Decoder(Pool& pool, UnknownWords unknown) : pool_(pool), unknown_(unknown) {}

  bool value(Value v, const Type& type, void* out);
  bool object(simdjson::ondemand::object o, const Type& type, void* out);
  Error error() const { return {Code::invalid, (path_.empty() ? "" : path_ + ": ") + what_}; }
  bool wrong(std::string_view what) {
    if (what_.empty()) what_ = what;
    return false;
  }

 private:
  template <class T>
  static T& as(void* out) {
    return *static_cast<T*>(out);
  }
  // Errors are rare: the path is put together while they travel up.
  bool within(std::string_view name) {
    path_ = path_.empty() ? std::string(name) : std::string(name).append(path_[0] == '[' ? "" : ".").append(path_);
    return false;
  }
  bool string(Value v, std::string_view& out, std::string_view expected = "expected a string") {
    return v.get_string().get(out) == simdjson::SUCCESS || wrong(expected);
  }
  bool integer(Value v, std::int64_t& out) {
    return v.get_int64().get(out) == simdjson::SUCCESS || wrong("expected an integer of 64 bits");
  }
  bool field(Value v, const Field& field, void* out);
  bool list(Value v, const Type& type, void* out);
  bool labels(Value v, Labels& out);
  bool name(Value v, const Type& type, std::uint8_t& out);
  bool time(Value v, WallTime& out);
  bool int_or_percent(Value v, IntOrPercent& out);
  bool raw(Value v, Json& out);

  Pool& pool_;
  UnknownWords unknown_;
  std::string path_, what_;
};

bool Decoder::list(Value v, const Type& type, void* out) {
  simdjson::ondemand::array array;
  if (v.get_array().get(array) != simdjson::SUCCESS) return wrong("expected a list");
  std::size_t i = 0;
  for (auto item : array) {
    if (item.error() != simdjson::SUCCESS || !value(item.value_unsafe(), *type.item, type.grow(out))) {
      wrong("broken JSON");
      return within("[" + std::to_string(i) + "]");
    }
    ++i;
  }
  return true;
}

bool Decoder::labels(Value v, Labels& out) {
  simdjson::ondemand::object o;
  if (v.get_object().get(o) != simdjson::SUCCESS) return wrong("expected an object of strings");
  for (auto entry : o) {
    std::string_view key, text;
    Value inner;
    if (entry.unescaped_key().get(key) != simdjson::SUCCESS) return wrong("broken JSON");
    const Text kept = pool_.intern(key);
    if (entry.value().get(inner) != simdjson::SUCCESS) return wrong("broken JSON");
    json_type kind{};
    if (inner.type().get(kind) == simdjson::SUCCESS && kind == json_type::null) continue;
    if (!string(inner, text)) return within(kept);
    out.set(kept, pool_.intern(text));
  }
  return true;
}

bool Decoder::name(Value v, const Type& type, std::uint8_t& out) {
  std::string_view text;
  if (!string(v, text)) return false;
  for (std::size_t i = 0; i < type.names.size(); ++i) {
    if (type.names[i] != text) continue;
    out = static_cast<std::uint8_t>(i);
    return true;
  }
  if (unknown_ == UnknownWords::kept) {
    out = unknown_word_value(text);
    return true;
  }
  std::string known;
  for (const auto n : type.names) known.append(known.empty() ? "" : ", ").append(n);
  return wrong(std::string("unknown value '").append(text.substr(0, 64)).append("', expected one of ").append(known));
}

bool Decoder::time(Value v, WallTime& out) {
  std::string_view text;
  if (!string(v, text, "expected a time like 2026-11-23T03:34:15Z")) return false;
  const auto parsed = parse_rfc3339(text);
  if (!parsed) return wrong("expected a time like 2026-11-23T03:34:15Z");
  out = *parsed;
  return true;
}

bool Decoder::int_or_percent(Value v, IntOrPercent& out) {
  constexpr std::string_view expected = "expected an integer or a percentage like 10%";
  json_type kind{};
  if (v.type().get(kind) == simdjson::SUCCESS && kind == json_type::number)
    return v.get_int64().get(out.value) == simdjson::SUCCESS || wrong(expected);
  std::string_view text;
  if (!string(v, text, expected)) return false;
  if (text.empty() || text.back() != '%') return wrong(expected);
  const char* end = text.data() + text.size() - 1;
  const auto [stop, failed] = std::from_chars(text.data(), end, out.value);
  if (failed != std::errc() || stop != end) return wrong(expected);
  out.percent = true;
  return true;
}

bool Decoder::raw(Value v, Json& out) {
  std::string_view text;
  if (simdjson::to_json_string(v).get(text) != simdjson::SUCCESS) return wrong("broken JSON");
  while (!text.empty() && std::strchr(" \t\r\n", text.back())) text.remove_suffix(1);
  out.raw = pool_.intern(text);
  return true;
}

bool Decoder::value(Value v, const Type& type, void* out) {
  json_type kind{};
  if (v.type().get(kind) != simdjson::SUCCESS) return wrong("broken JSON");
  if (kind == json_type::null) {
    bool null = false;
    return (v.is_null().get(null) == simdjson::SUCCESS && null) || wrong("broken JSON");
  }
  std::string_view text;
  std::int64_t number = 0;
  switch (type.kind) {
    case Kind::boolean: return v.get_bool().get(as<bool>(out)) == simdjson::SUCCESS || wrong("expected true or false");
    case Kind::integer: return integer(v, as<std::int64_t>(out));
    case Kind::seconds:
      if (!integer(v, number)) return false;
      as<std::chrono::seconds>(out) = std::chrono::seconds(number);
      return true;
    case Kind::string:
      if (!string(v, text)) return false;
      as<std::string>(out) = text;
      return true;
    case Kind::text:
      if (!string(v, text)) return false;
      as<Text>(out) = pool_.intern(text);
      return true;
    case Kind::names: return name(v, type, as<std::uint8_t>(out));
    case Kind::time: return time(v, as<WallTime>(out));
    case Kind::micro_time: return time(v, as<MicroTime>(out).time);
    case Kind::int_or_percent: return int_or_percent(v, as<IntOrPercent>(out));
    case Kind::labels: return labels(v, as<Labels>(out));
    case Kind::json: return raw(v, as<Json>(out));
    case Kind::list: return list(v, type, out);
    case Kind::optional: return value(v, *type.item, type.grow(out));
    case Kind::object: {
      simdjson::ondemand::object o;
      if (v.get_object().get(o) != simdjson::SUCCESS) return wrong("expected an object");
      return object(o, type, out);
    }
  }
  return wrong("broken JSON");
}

// What is never the same twice would only fill the pool with strings that nobody shares.
bool Decoder::field(Value v, const Field& field, void* out) {
  if (!field.rules.unique || field.type->kind != Kind::text) return value(v, *field.type, out);
  json_type kind{};
  if (v.type().get(kind) == simdjson::SUCCESS && kind == json_type::null) return value(v, *field.type, out);
  std::string_view text;
  if (!string(v, text)) return false;
  as<Text>(out) = Text(text);
  return true;
}

bool Decoder::object(simdjson::ondemand::object o, const Type& type, void* out) {
  for (auto entry : o) {
    std::string_view key;
    if (entry.unescaped_key().get(key) != simdjson::SUCCESS) return wrong("broken JSON");
    for (const Field& field : type.fields) {
      if (field.name != key) continue;
      Value inner;
      if (entry.value().get(inner) == simdjson::SUCCESS && this->field(inner, field, field.at(out))) break;
      wrong("broken JSON");
      return within(field.name);
    }
  }
  return true;
}

bool at_end(simdjson::ondemand::document& document) {
  const char* next = nullptr;
  return document.current_location().get(next) == simdjson::OUT_OF_BOUNDS;
}

}  // namespace

Result<void> decode(std::string_view json, const Type& type, void* out, Pool& pool, UnknownWords unknown) {
  if (type.kind != Kind::object) return fail(Code::invalid, "only objects can be decoded on their own");
  auto& [parser, padded] = scratch();
  padded.reserve(json.size() + simdjson::SIMDJSON_PADDING);
  padded.assign(json);
  Decoder decoder(pool, unknown);
  simdjson::ondemand::document document;
  simdjson::ondemand::object root;
  bool good =
      parser.iterate(simdjson::padded_string_view(padded.data(), padded.size(), padded.capacity())).get(document) == simdjson::SUCCESS &&
      document.get_object().get(root) == simdjson::SUCCESS;
  if (!good)
    decoder.wrong("expected a JSON object");
  else
    good = decoder.object(root, type, out) && (at_end(document) || decoder.wrong("something stands behind the object"));
  if (padded.capacity() > kept_buffer) {
    std::string().swap(padded);
    parser = simdjson::ondemand::parser();
  }
  if (!good) return fail(decoder.error());
  return {};
}

}  // namespace reconcile
