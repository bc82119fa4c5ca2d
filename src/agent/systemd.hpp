// systemd by D-Bus, over its private socket as systemctl does for root: no bus daemon is needed. Reconnects by itself.
#pragma once
#include <memory>

#include "src/agent/services.hpp"

namespace endstate::agent {

std::unique_ptr<Services> systemd_services(std::string socket = "/run/systemd/private");

}  // namespace endstate::agent
