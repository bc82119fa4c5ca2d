// JSON Patch (RFC 6902), written op by op. Pure.
//
//   JsonPatch patch;
//   patch.test("/metadata/resourceVersion", quote(rv)).remove("/spec/taints/2");
//   action.body = patch.str();
//
// Paths are JSON Pointers: put pointer(key) (encode.hpp) where a key comes from outside. Values are JSON, by encode() or quote().
#pragma once
#include <string>
#include <string_view>

#include "reconcile/json/encode.hpp"

namespace reconcile {

class JsonPatch {
 public:
  JsonPatch& test(std::string_view path, std::string_view json) { return put("test", path, json); }
  JsonPatch& add(std::string_view path, std::string_view json) { return put("add", path, json); }
  JsonPatch& replace(std::string_view path, std::string_view json) { return put("replace", path, json); }
  JsonPatch& remove(std::string_view path) { return put("remove", path, {}); }
  bool empty() const { return ops_.empty(); }
  std::string str() const { return "[" + ops_ + "]"; }

 private:
  JsonPatch& put(std::string_view op, std::string_view path, std::string_view json) {
    if (!ops_.empty()) ops_ += ',';
    ops_.append(R"({"op":")").append(op).append(R"(","path":)").append(quote(path));
    if (!json.empty()) ops_.append(R"(,"value":)").append(json);
    ops_ += '}';
    return *this;
  }
  std::string ops_;
};

}  // namespace reconcile
