// YAML in and out. Read strictly, as people's configuration should be: what YAML would quietly turn into something else is refused.
//
// Read: aliases, merge keys (<<), duplicate keys, keys that aren't scalars, tags beside YAML's own, .inf and .nan, and integers with a
// leading zero (octal to some readers) are errors; yes, no, on, off, y and n are strings; only true and false are booleans (YAML 1.2's core
// schema). At most 16 MiB, 100 levels deep, 1,000 documents. Errors are Code::invalid and say line and column.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/base/result.hpp"

namespace reconcile {

// The one document, as JSON without white space; an empty one is null.
Result<std::string> yaml_to_json(std::string_view yaml);
// Each document that isn't empty.
Result<std::vector<std::string>> yaml_documents_to_json(std::string_view yaml);

// The first document as client-go reads a kubeconfig (sigs.k8s.io/yaml over go-yaml's Unmarshal, not strict): whatever follows it is not
// looked at; aliases (*name) and merge keys (<<) are written out, to 1 MiB at most; of a key that stands there twice the last value counts.
// Everything else as above.
Result<std::string> yaml_config_to_json(std::string_view yaml);

// Block style, keys in the order that they come in. JSON that can't be read is Code::invalid.
Result<std::string> json_to_yaml(std::string_view json);

}  // namespace reconcile
