#include "controllers/machine_set/names.hpp"

#include "reconcile/json/encode.hpp"

namespace endstate::machine_set {

std::string machine_name(std::string_view set_name, std::string_view set_uid, std::uint64_t ordinal) {
  std::string seed(set_uid);
  seed.append("/").append(std::to_string(ordinal));
  return std::string(set_name).append("-").append(reconcile::hash_of(seed).substr(0, 5));
}

std::string revision_name(std::string_view set_name, std::string_view hash) { return std::string(set_name).append("-").append(hash); }

std::string canonical_template(const v1alpha1::MachineTemplate& t) { return reconcile::encode(t); }

}  // namespace endstate::machine_set
