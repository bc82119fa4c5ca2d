#include "src/agent/systemd.hpp"

#include <systemd/sd-bus.h>

#include <cstring>
#include <thread>

#include "src/agent/reasons.hpp"

namespace endstate::agent {
namespace {

using namespace std::chrono_literals;
constexpr const char* destination = "org.freedesktop.systemd1";
constexpr const char* manager_path = "/org/freedesktop/systemd1";
constexpr const char* manager = "org.freedesktop.systemd1.Manager";
constexpr auto job_limit = 180s;  // above systemd's own default of 90 s for a start or a stop
constexpr auto look_again = 50ms;

struct BusError {
  sd_bus_error e = SD_BUS_ERROR_NULL;
  BusError() = default;
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  ~BusError() { sd_bus_error_free(&e); }
  bool is(const char* name) const { return sd_bus_error_has_name(&e, name) > 0; }
  std::string text() const { return e.message != nullptr ? e.message : "no answer"; }
};
using Message = std::unique_ptr<sd_bus_message, decltype(&sd_bus_message_unref)>;
using Bus = std::unique_ptr<sd_bus, decltype(&sd_bus_flush_close_unref)>;

Error failed(std::string message) { return {Code::unavailable, std::move(message), {}, std::string(reason::service_failed)}; }

UnitState state_of(std::string_view active, std::string_view load) {
  if (load == "not-found") return UnitState::absent;
  if (active == "active" || active == "reloading") return UnitState::active;
  if (active == "activating") return UnitState::starting;
  if (active == "deactivating") return UnitState::stopping;
  if (active == "failed") return UnitState::failed;
  if (active == "inactive") return UnitState::inactive;
  return UnitState::unknown;
}

const char* method_of(UnitJob job) {
  switch (job) {
    case UnitJob::start: return "StartUnit";
    case UnitJob::stop: return "StopUnit";
    case UnitJob::restart: return "RestartUnit";
    case UnitJob::reload: return "ReloadOrRestartUnit";
  }
  return "";
}

class Systemd final : public Services {
 public:
  explicit Systemd(std::string socket) : address_("unix:path=" + std::move(socket)) {}

  Result<UnitInfo> unit(const std::string& name) override {
    auto path = load(name);
    if (!path) return fail(path.error());
    if (path->empty()) return UnitInfo{UnitState::absent, {}};
    auto active = text(*path, "org.freedesktop.systemd1.Unit", "ActiveState");
    if (!active) return fail(active.error());
    auto loaded = text(*path, "org.freedesktop.systemd1.Unit", "LoadState");
    if (!loaded) return fail(loaded.error());
    auto sub = text(*path, "org.freedesktop.systemd1.Unit", "SubState");
    if (!sub) return fail(sub.error());
    UnitInfo info{state_of(*active, *loaded), *sub};
    if (*loaded == "error" || *loaded == "bad-setting") info = {UnitState::failed, "its unit file can't be read: " + *loaded};
    if (info.state == UnitState::failed && name.ends_with(".service")) {
      const auto result = text(*path, "org.freedesktop.systemd1.Service", "Result");
      if (result && *result != "success") info.detail = *result;
    }
    return info;
  }

  Result<void> reload_units() override {
    auto reply = call(manager_path, manager, "Reload", "", nullptr, nullptr);
    if (!reply) return fail(reply.error());
    return {};
  }

  Result<void> unit_job(const std::string& unit_name, UnitJob job, const std::atomic<bool>& cancelled) override {
    if (job != UnitJob::stop) reset_failed(unit_name);  // else a start limit that was hit long ago refuses it
    auto reply = call(manager_path, manager, method_of(job), "ss", unit_name.c_str(), "replace");
    if (!reply) {
      if (job == UnitJob::stop && reply.error().code == Code::not_found) return {};
      return fail(reply.error());
    }
    const char* path = nullptr;
    if (sd_bus_message_read(reply->get(), "o", &path) < 0) return fail(failed("systemd gave no job for " + unit_name));
    const std::string job_path = path;
    const auto deadline = std::chrono::steady_clock::now() + job_limit;
    while (runs(job_path)) {
      if (cancelled) return fail(Code::cancelled, "the agent stops");
      if (std::chrono::steady_clock::now() > deadline) return fail(failed(unit_name + ": systemd's job doesn't end"));
      std::this_thread::sleep_for(look_again);
    }
    auto info = unit(unit_name);
    if (!info) return fail(info.error());
    const bool bad =
        job == UnitJob::stop ? info->state == UnitState::active : info->state == UnitState::failed || info->state == UnitState::absent;
    if (bad) return fail(failed(unit_name + (job == UnitJob::stop ? " doesn't stop" : " doesn't start: ") + info->detail));
    return {};
  }

  Result<void> reboot() override {
    auto reply = call(manager_path, manager, "Reboot", "", nullptr, nullptr);
    if (!reply) return fail(reply.error());
    return {};
  }

 private:
  Result<sd_bus*> bus() {
    if (bus_ && sd_bus_is_open(bus_.get()) > 0) return bus_.get();
    sd_bus* fresh = nullptr;
    int r = sd_bus_new(&fresh);
    bus_ = Bus(fresh, sd_bus_flush_close_unref);
    if (r >= 0) r = sd_bus_set_address(fresh, address_.c_str());
    if (r >= 0) r = sd_bus_start(fresh);
    if (r < 0) {
      bus_.reset();
      return fail(failed("systemd can't be reached at " + address_ + ": " + std::strerror(-r)));  // NOLINT(concurrency-mt-unsafe)
    }
    sd_bus_set_method_call_timeout(fresh, 60'000'000);
    return fresh;
  }

  // `types`: "", "s" or "ss".
  Result<Message> call(const char* path, const char* interface, const char* method, const char* types, const char* a, const char* b) {
    auto to = bus();
    if (!to) return fail(to.error());
    BusError error;
    sd_bus_message* reply = nullptr;
    const int r = sd_bus_call_method(*to, destination, path, interface, method, &error.e, &reply, types, a, b);
    Message owned(reply, sd_bus_message_unref);
    if (r >= 0) return owned;
    Error e = failed(std::string("systemd refuses ") + method + (a != nullptr ? " " + std::string(a) : "") + ": " + error.text());
    if (error.is("org.freedesktop.systemd1.NoSuchUnit") || error.is(SD_BUS_ERROR_UNKNOWN_OBJECT)) e.code = Code::not_found;
    if (error.e.name == nullptr || r == -ECONNRESET || r == -ENOTCONN) bus_.reset();
    return fail(std::move(e));
  }

  Result<std::string> load(const std::string& name) {  // "": there is none
    auto reply = call(manager_path, manager, "LoadUnit", "s", name.c_str(), nullptr);
    if (!reply && reply.error().code == Code::not_found) return std::string();
    if (!reply) return fail(reply.error());
    const char* path = nullptr;
    if (sd_bus_message_read(reply->get(), "o", &path) < 0) return fail(failed("systemd doesn't say where " + name + " is"));
    return std::string(path);
  }

  Result<std::string> text(const std::string& path, const char* interface, const char* property) {
    auto to = bus();
    if (!to) return fail(to.error());
    BusError error;
    char* value = nullptr;
    const int r = sd_bus_get_property_string(*to, destination, path.c_str(), interface, property, &error.e, &value);
    if (r < 0) return fail(failed(std::string("systemd doesn't say ") + property + ": " + error.text()));
    std::string out = value;
    ::free(value);  // NOLINT: sd-bus hands out malloc's
    return out;
  }

  bool runs(const std::string& job_path) { return text(job_path, "org.freedesktop.systemd1.Job", "State").has_value(); }

  void reset_failed(const std::string& name) {
    auto done = call(manager_path, manager, "ResetFailedUnit", "s", name.c_str(), nullptr);
    (void)done;  // there may be nothing to reset
  }

  std::string address_;
  Bus bus_{nullptr, sd_bus_flush_close_unref};
};

}  // namespace

std::unique_ptr<Services> systemd_services(std::string socket) { return std::make_unique<Systemd>(std::move(socket)); }

}  // namespace endstate::agent
