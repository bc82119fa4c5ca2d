#include "reconcile/json/yaml.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>

#include "reconcile/json/encode.hpp"

namespace reconcile {
namespace {

constexpr std::size_t max_bytes = 16U << 20;
constexpr std::size_t max_depth = 100;
constexpr std::size_t max_documents = 1000;
constexpr std::size_t max_written_out = 1U << 20;  // what aliases may make of a document: a bomb of them doubles with each
constexpr std::string_view yaml_tag = "tag:yaml.org,2002:";

struct Refused {  // thrown out of yaml-cpp's callbacks, caught in read()
  YAML::Mark mark;
  std::string message;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
std::size_t digits(std::string_view s, std::size_t from) {
  auto end = from;
  while (end < s.size() && is_digit(s[end])) ++end;
  return end - from;
}
bool one_of(std::string_view s, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), s) != words.end();
}

// The JSON of a number of YAML 1.2's core schema, or nothing if it isn't one (10.3.2 Tag Resolution).
std::optional<std::string> number(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0o")) {
    std::uint64_t value = 0;
    const auto [end, failed] = std::from_chars(text.data() + 2, text.data() + text.size(), value, text[1] == 'x' ? 16 : 8);
    if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return std::to_string(value);
  }
  std::string out;
  std::size_t at = 0;
  if (text.starts_with('-')) out = "-";
  if (text.starts_with('-') || text.starts_with('+')) at = 1;
  const auto whole = digits(text, at);
  out.append(whole > 0 ? text.substr(at, whole) : "0");
  at += whole;
  std::size_t fraction = 0;
  if (at < text.size() && text[at] == '.') {
    fraction = digits(text, ++at);
    out.append(".").append(fraction > 0 ? text.substr(at, fraction) : "0");
    at += fraction;
  }
  if (whole + fraction == 0) return std::nullopt;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    auto sign = at + 1;
    if (sign < text.size() && (text[sign] == '-' || text[sign] == '+')) ++sign;
    const auto exponent = digits(text, sign);
    if (exponent == 0) return std::nullopt;
    out.append(text.substr(at, sign + exponent - at));
    at = sign + exponent;
  }
  if (at != text.size()) return std::nullopt;
  return out;
}

// 0644 is 420 to YAML 1.1 and 644 to YAML 1.2: whoever wrote it meant one of them.
bool ambiguous(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && is_digit(text[1]) && digits(text, 0) == text.size();
}

std::string plain(const YAML::Mark& mark, std::string_view text) {
  if (one_of(text, {"", "~", "null", "Null", "NULL"})) return "null";
  if (one_of(text, {"true", "True", "TRUE"})) return "true";
  if (one_of(text, {"false", "False", "FALSE"})) return "false";
  if (one_of(text, {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN"}))
    throw Refused{mark, "infinity and not-a-number have no place in JSON"};
  if (ambiguous(text))
    throw Refused{mark, "the number " + std::string(text) + " begins with 0: write it in quotes, or as a decimal number"};
  if (auto value = number(text)) return *value;
  return quote(text);
}

// Writes JSON as yaml-cpp reads: no tree, so nothing can be larger than the input by more than the quotes (and what aliases add).
class Writer final : public YAML::EventHandler {
 public:
  enum class Manner : std::uint8_t { strict, lenient };
  explicit Writer(Manner manner) : lenient_(manner == Manner::lenient) {}
  void OnDocumentStart(const YAML::Mark&) override {
    out_.clear();
    anchors_.clear();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto from = scalar(mark, "", true);
    keep(anchor, from);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (!lenient_) throw Refused{mark, "aliases (*name) are refused: write it out"};
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) throw Refused{mark, "an alias inside of what it names"};
    const bool is_scalar = !it->second.starts_with('{') && !it->second.starts_with('[');
    if (is_scalar && !levels_.empty() && levels_.back().map && levels_.back().key_next)
      throw Refused{mark, "an alias as a key: write it out"};
    before_value(mark, is_scalar);
    if (out_.size() + it->second.size() > max_written_out) throw Refused{mark, "its aliases make more than 1 MiB of it"};
    out_ += it->second;
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    const bool unquoted =
        tag == "?" || one_of(tag, {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"});
    if (!unquoted && tag != "!" && !tag.empty() && tag != std::string(yaml_tag) + "str")
      throw Refused{mark, "the tag " + tag + " is not known"};
    keep(anchor, scalar(mark, value, unquoted));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(mark, tag, "seq", '[', anchor);
  }
  void OnSequenceEnd() override { close(']'); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(mark, tag, "map", '{', anchor);
  }
  void OnMapEnd() override { close('}'); }
  const std::string& json() const { return out_; }

 private:
  struct Level {
    bool map = false, key_next = false, empty = true;
    YAML::anchor_t anchor = 0;
    std::size_t from = 0;  // in out_
    std::set<std::string, std::less<>> keys{};
  };

  // What an alias of that anchor stands for: out_ from there on.
  void keep(YAML::anchor_t anchor, std::size_t from) {
    if (lenient_ && anchor != 0) anchors_[anchor] = out_.substr(from);
  }

  void separate(Level& level) {
    if (!level.empty) out_ += ',';
    level.empty = false;
  }
  // What precedes a value in the level that it stands in.
  void before_value(const YAML::Mark& mark, bool is_scalar) {
    if (levels_.empty()) return;
    auto& level = levels_.back();
    if (!level.map) return separate(level);
    if (level.key_next && !is_scalar) throw Refused{mark, "a key must be a scalar"};
    level.key_next = !level.key_next;
  }
  std::size_t scalar(const YAML::Mark& mark, const std::string& text, bool unquoted) {  // where it begins in out_
    if (!levels_.empty() && levels_.back().map && levels_.back().key_next) {
      key(mark, text, unquoted);
      return out_.size();
    }
    before_value(mark, true);
    const auto from = out_.size();
    out_ += unquoted ? plain(mark, text) : quote(text);
    return from;
  }
  void key(const YAML::Mark& mark, const std::string& text, bool unquoted) {
    auto& level = levels_.back();
    if (unquoted && text == "<<" && !lenient_) throw Refused{mark, "merge keys (<<) are refused: write it out"};
    if (!level.keys.insert(text).second && !lenient_) throw Refused{mark, "the key " + quote(text) + " stands there twice"};
    separate(level);
    level.key_next = false;
    out_ += quote(text) + ":";
  }
  void open(const YAML::Mark& mark, const std::string& tag, std::string_view own, char bracket, YAML::anchor_t anchor) {
    if (!tag.empty() && tag != "?" && tag != "!" && tag != std::string(yaml_tag).append(own))
      throw Refused{mark, "the tag " + tag + " is not known"};
    before_value(mark, false);
    if (levels_.size() == max_depth) throw Refused{mark, "more than " + std::to_string(max_depth) + " levels deep"};
    levels_.push_back({.map = bracket == '{', .key_next = bracket == '{', .anchor = anchor, .from = out_.size()});
    out_ += bracket;
  }
  void close(char bracket) {
    out_ += bracket;
    keep(levels_.back().anchor, levels_.back().from);
    levels_.pop_back();
  }

  const bool lenient_;
  std::string out_;
  std::map<YAML::anchor_t, std::string> anchors_;
  std::vector<Level> levels_;
};

tl::unexpected<Error> refuse(const YAML::Mark& mark, const std::string& message) {
  std::string where = mark.is_null() ? "" : "line " + std::to_string(mark.line + 1) + ", column " + std::to_string(mark.column + 1) + ": ";
  return fail(Code::invalid, "YAML: " + where + message);
}

Result<std::vector<std::string>> read(std::string_view yaml, Writer::Manner manner = Writer::Manner::strict) {
  if (yaml.size() > max_bytes) return fail(Code::invalid, "YAML: longer than " + std::to_string(max_bytes >> 20) + " MiB");
  std::vector<std::string> out;
  try {
    // A quoted scalar that isn't closed swallows the rest, and yaml-cpp 0.7 takes it if a line ends there; a marker inside of one it
    // refuses.
    std::istringstream stream(std::string(yaml).append(yaml.ends_with('\n') ? "...\n" : ""));
    YAML::Parser parser(stream);
    Writer writer(manner);
    while (parser.HandleNextDocument(writer)) {
      if (out.size() == max_documents) return fail(Code::invalid, "YAML: more than " + std::to_string(max_documents) + " documents");
      out.push_back(writer.json());
      if (manner == Writer::Manner::lenient) break;  // the first one only
    }
  } catch (const Refused& refused) {
    return refuse(refused.mark, refused.message);
  } catch (const YAML::Exception& e) {
    return refuse(e.mark, e.msg);
  }
  return out;
}

// https://yaml.org/type/merge.html: what a map says itself wins over what it merges, and the first of several over the next.
void write_out_merges(nlohmann::json& value) {
  if (value.is_array() || value.is_object())
    for (auto& item : value) write_out_merges(item);
  if (!value.is_object()) return;
  const auto it = value.find("<<");
  if (it == value.end()) return;
  const auto merged = std::move(*it);
  value.erase(it);
  const auto add = [&](const nlohmann::json& other) {
    if (other.is_object()) value.insert(other.begin(), other.end());  // std::map's: what is there stays
  };
  if (merged.is_array())
    for (const auto& other : merged) add(other);
  else
    add(merged);
}

// ---- out ----

// Would a reader of YAML 1.1 or 1.2 take it for a string, as it stands and without a second thought?
bool plain_is_string(std::string_view s) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (s.empty() || !letter(s.front()) || s.back() == ' ' || s.back() == ':') return false;
  if (s.find(": ") != std::string_view::npos || s.find(" #") != std::string_view::npos) return false;
  if (!std::all_of(s.begin(), s.end(), [&](char c) {
        return letter(c) || is_digit(c) || std::string_view(" ._/-,;:()<>=+@").find(c) != std::string_view::npos;
      }))
    return false;
  std::string lower(s);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return !one_of(lower, {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"});
}

// JSON is YAML, so yaml-cpp reads it; a quoted scalar has the tag "!".
void write(YAML::Emitter& out, const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Map:
      if (node.size() == 0) out << YAML::Flow;
      out << YAML::BeginMap;
      for (const auto& entry : node) {
        out << YAML::Key;
        write(out, entry.first);
        out << YAML::Value;
        write(out, entry.second);
      }
      out << YAML::EndMap;
      break;
    case YAML::NodeType::Sequence:
      if (node.size() == 0) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const auto& item : node) write(out, item);
      out << YAML::EndSeq;
      break;
    case YAML::NodeType::Scalar:
      if (node.Tag() == "!" && !plain_is_string(node.Scalar())) out << YAML::DoubleQuoted;
      out << node.Scalar();
      break;
    default: out << YAML::Null; break;
  }
}

}  // namespace

Result<std::string> yaml_to_json(std::string_view yaml) {
  auto documents = read(yaml);
  if (!documents) return fail(std::move(documents.error()));
  if (documents->size() > 1) return fail(Code::invalid, "YAML: expected one document, there are " + std::to_string(documents->size()));
  return documents->empty() ? std::string("null") : std::move(documents->front());
}

Result<std::vector<std::string>> yaml_documents_to_json(std::string_view yaml) {
  auto documents = read(yaml);
  if (documents) std::erase(*documents, "null");
  return documents;
}

Result<std::string> yaml_config_to_json(std::string_view yaml) {
  auto documents = read(yaml, Writer::Manner::lenient);
  if (!documents) return fail(std::move(documents.error()));
  if (documents->empty()) return std::string("null");
  auto value = nlohmann::json::parse(documents->front(), nullptr, false);  // at most max_depth levels
  if (value.is_discarded()) return fail(Code::invalid, "YAML: can't be said in JSON");
  write_out_merges(value);
  return value.dump();
}

Result<std::string> json_to_yaml(std::string_view json) {
  if (auto checked = yaml_to_json(json); !checked) return fail(std::move(checked.error()));
  YAML::Emitter out;
  write(out, YAML::Load(std::string(json)));
  if (!out.good()) return fail(Code::invalid, "YAML: " + out.GetLastError());
  return std::string(out.c_str()) + "\n";
}

}  // namespace reconcile
