// One workload each (children.hpp), for workload().
#pragma once
#include "apis/v1alpha1/names.hpp"
#include "controllers/cluster/child_parts.hpp"

namespace endstate::cluster {

Child etcd(const Site& site, const PartVersion& version);
Child api_server(const Site& site, const PartVersion& version);
Child controller_manager(const Site& site, const PartVersion& version);
Child scheduler(const Site& site, const PartVersion& version);

}  // namespace endstate::cluster
