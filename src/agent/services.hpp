// Services: who runs a package's service. systemd.hpp on real hosts, process_services.hpp where there is no systemd.
#pragma once
#include <atomic>

#include "src/agent/host.hpp"

namespace endstate::agent {

class Services {
 public:
  virtual ~Services() = default;
  virtual Result<UnitInfo> unit(const std::string& name) = 0;
  virtual Result<void> reload_units() = 0;
  virtual Result<void> unit_job(const std::string& unit, UnitJob job, const std::atomic<bool>& cancelled) = 0;
  virtual Result<void> reboot() = 0;
};

}  // namespace endstate::agent
