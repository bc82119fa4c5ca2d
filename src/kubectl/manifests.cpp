#include "src/kubectl/manifests.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "reconcile/json/yaml.hpp"

namespace endstate::kubectl {
namespace {

using nlohmann::json;
using reconcile::Code, reconcile::fail, reconcile::Result;
namespace fs = std::filesystem;

Result<void> take(const json& object, const std::string& where, std::vector<Manifest>& out) {
  const auto text = [&](const json& from, const char* key) {
    const auto it = from.find(key);
    return it != from.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  if (!object.is_object()) return fail(Code::invalid, where + ": a document is not an object");
  if (text(object, "kind") == "List" && object.contains("items") && object["items"].is_array()) {
    for (const auto& item : object["items"])
      if (auto done = take(item, where, out); !done) return done;
    return {};
  }
  Manifest m{.where = where, .api_version = text(object, "apiVersion"), .kind = text(object, "kind"), .json = object.dump()};
  if (const auto meta = object.find("metadata"); meta != object.end() && meta->is_object()) {
    m.name = text(*meta, "name");
    m.name_space = text(*meta, "namespace");
  }
  if (m.api_version.empty() || m.kind.empty()) return fail(Code::invalid, where + ": a document has no apiVersion and kind");
  if (m.name.empty()) return fail(Code::invalid, where + ": a " + m.kind + " has no metadata.name");
  if (out.size() >= max_manifests) return fail(Code::invalid, "more than " + std::to_string(max_manifests) + " objects");
  out.push_back(std::move(m));
  return {};
}

Result<void> read(std::istream& in, const std::string& where, std::vector<Manifest>& out) {
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto documents = reconcile::yaml_documents_to_json(text);
  if (!documents) return fail(Code::invalid, where + ": " + documents.error().message);
  for (const auto& d : *documents)
    if (auto done = take(json::parse(d, nullptr, false), where, out); !done) return done;
  return {};
}

bool is_manifest(const fs::path& file) {
  const auto ext = file.extension();
  return ext == ".yaml" || ext == ".yml" || ext == ".json";
}

Result<void> read_file(const fs::path& file, std::vector<Manifest>& out) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(Code::invalid, "can't read " + file.string());
  return read(in, file.string(), out);
}

}  // namespace

Result<std::vector<Manifest>> read_manifests(const std::vector<std::string>& names, std::istream& standard_input) {
  std::vector<Manifest> out;
  for (const auto& name : names) {
    if (name == "-") {
      if (auto done = read(standard_input, "standard input", out); !done) return fail(std::move(done.error()));
      continue;
    }
    std::error_code error;
    std::vector<fs::path> files;
    if (fs::is_directory(name, error)) {
      for (const auto& entry : fs::directory_iterator(name, error))
        if (entry.is_regular_file(error) && is_manifest(entry.path())) files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      if (files.empty()) return fail(Code::invalid, name + ": no .yaml, .yml or .json in this folder");
    } else if (fs::exists(name, error)) {
      files.emplace_back(name);
    } else {
      return fail(Code::invalid, "there is no file " + name);
    }
    for (const auto& file : files)
      if (auto done = read_file(file, out); !done) return fail(std::move(done.error()));
  }
  if (out.empty()) return fail(Code::invalid, "the files hold no object");
  return out;
}

}  // namespace endstate::kubectl
