// PodModel: one pod on a simulated node, as its kubelet plays it. A pure state machine, like HostModel.
//
//   Pending -> Running and Ready, with an address      1-3 s
//   a Job's pod -> Succeeded                           2-6 s later; with the annotation below and a number but 0: Failed
//   deletionTimestamp -> ends within its grace period (1-5 s), then deleted with a grace period of 0 and its uid, as a kubelet does
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "reconcile/base/env.hpp"
#include "src/fleet/host.hpp"

namespace endstate::fleet {

inline constexpr std::string_view exit_code_annotation = "fleet.endstate.dev/exit-code";  // on a Job's pod

enum class PodPhase : std::uint8_t { pending, running, succeeded, failed };
inline constexpr std::string_view pod_phase_names[] = {"Pending", "Running", "Succeeded", "Failed"};

class PodModel {
 public:
  // `number`: counts the pods that this host has had; makes the address.
  PodModel(const HostFacts& host, std::uint32_t number, std::shared_ptr<const Settings> settings);

  void saw(const Pod& pod);
  void advance(Now now);              // only while its kubelet runs
  MonoTime next(MonoTime now) const;  // later than `now`; max(): not before the next event
  bool wants(MonoTime now) const;     // one write at a time
  reconcile::Call take(Now now);
  void done(const reconcile::Result<void>& result, Now now);
  void put_back() { busy_ = false; }

  std::uint32_t host() const { return host_; }
  PodPhase phase() const { return phase_; }
  const Text& uid() const { return uid_; }

 private:
  bool finished() const { return phase_ == PodPhase::succeeded || phase_ == PodPhase::failed; }
  bool due() const { return ended_ ? !removed_ : phase_ > said_; }
  reconcile::Call remove_call() const;
  reconcile::Call status_call(Now now) const;

  std::uint32_t host_, number_;
  std::string host_address_;
  Chance chance_;
  std::shared_ptr<const Settings> settings_;
  Text name_space_, name_, uid_;
  PodSpec spec_;
  bool of_job_ = false;
  std::int64_t exit_code_ = 0;
  PodPhase phase_{}, said_{};
  bool deleting_ = false, ended_ = false, removed_ = false;  // removed: we have asked for it
  std::optional<MonoTime> due_, end_;
  WallTime started_{};
  bool busy_ = false;
  PodPhase sent_{};
  std::uint8_t failures_ = 0;
  MonoTime not_before_{};
};

}  // namespace endstate::fleet
