#include "src/fleet/pod.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "reconcile/json/encode.hpp"
#include "reconcile/kube/url.hpp"

namespace endstate::fleet {

using namespace std::chrono_literals;
using reconcile::Call, reconcile::Code, reconcile::Verb;

PodModel::PodModel(const HostFacts& host, std::uint32_t number, std::shared_ptr<const Settings> settings)
    : host_(host.index), number_(number), host_address_(host.address), chance_(host.seed + number + 1), settings_(std::move(settings)) {}

void PodModel::saw(const Pod& pod) {
  name_space_ = pod.metadata.name_space;
  name_ = pod.metadata.name;
  uid_ = pod.metadata.uid;
  spec_ = pod.spec;
  deleting_ = pod.metadata.deleting();
  const auto* owner = pod.metadata.controller();
  of_job_ = owner != nullptr && owner->kind == "Job";
  const auto code = pod.metadata.annotations.get(exit_code_annotation);
  if (std::from_chars(code.data(), code.data() + code.size(), exit_code_).ec != std::errc{}) exit_code_ = 0;
  // A pod's phase goes forward only, so an older view can't undo what we know.
  const auto* const seen = std::find(std::begin(pod_phase_names), std::end(pod_phase_names), pod.status.phase.view());
  if (seen == std::end(pod_phase_names)) return;
  const auto phase = static_cast<PodPhase>(seen - std::begin(pod_phase_names));
  said_ = std::max(said_, phase);
  if (phase > phase_) {
    phase_ = phase;
    due_.reset();
  }
}

void PodModel::advance(Now now) {
  const auto scale = settings_->pace.scale;
  if (deleting_) {
    const auto grace = std::chrono::seconds(std::clamp<std::int64_t>(spec_.termination_grace_period_seconds.value_or(30), 0, 3600));
    if (!end_) end_ = now.mono + std::min<std::chrono::nanoseconds>(finished() ? 0s : chance_.between(1s, 5s, scale), grace);
    ended_ = *end_ <= now.mono;
    return;
  }
  if (phase_ == PodPhase::pending) {
    if (!due_) due_ = now.mono + chance_.between(1s, 3s, scale);
    if (*due_ > now.mono) return;
    phase_ = PodPhase::running;
    started_ = now.wall;
    due_.reset();
  }
  if (phase_ == PodPhase::running && of_job_) {
    // Running must have been told first: a Job's controller counts what it saw run.
    if (said_ != PodPhase::running) return;
    if (!due_) due_ = now.mono + chance_.between(2s, 6s, scale);
    if (*due_ > now.mono) return;
    phase_ = exit_code_ == 0 ? PodPhase::succeeded : PodPhase::failed;
    due_.reset();
  }
}

MonoTime PodModel::next(MonoTime now) const {
  auto first = MonoTime::max();
  for (const auto& at : {due_, end_, due() && !busy_ ? std::optional(not_before_) : std::nullopt})
    if (at && *at > now) first = std::min(first, *at);
  return first;
}

bool PodModel::wants(MonoTime now) const { return !busy_ && due() && not_before_ <= now; }

Call PodModel::take(Now now) {
  busy_ = true;
  sent_ = phase_;
  return ended_ ? remove_call() : status_call(now);
}

Call PodModel::remove_call() const {
  return {.verb = Verb::remove,
          .resource = &reconcile::resource_of<Pod>,
          .name_space = name_space_.str(),
          .name = name_.str(),
          .body = reconcile::delete_options(uid_, {}, {}, 0s)};
}

Call PodModel::status_call(Now now) const {
  const auto address = spec_.host_network.value_or(false) ? host_address_ : pod_address(host_, number_);
  const auto started = started_ == WallTime{} ? now.wall : started_;
  const bool runs = phase_ == PodPhase::running;
  const auto since = runs ? started : now.wall;
  PodStatus s;
  s.phase = pod_phase_names[static_cast<std::size_t>(phase_)];
  s.host_ip = host_address_;
  s.pod_ip = address;
  s.pod_ips = {{address}};
  s.start_time = started;
  s.conditions = {
      {"Initialized", "True", started}, {"Ready", runs ? "True" : "False", since}, {"ContainersReady", runs ? "True" : "False", since}};
  for (const auto& c : spec_.containers) {
    ContainerStatus status{.name = c.name,
                           .image = c.image,
                           .image_id = Text("sim://" + c.image.str()),
                           .container_id = Text("containerd://" + uuid_of(host_ + 1, uid_.str() + c.name.str(), number_)),
                           .ready = runs,
                           .started = runs};
    if (runs)
      status.state.running = RunningState{started};
    else
      status.state.terminated = TerminatedState{phase_ == PodPhase::succeeded ? 0 : exit_code_,
                                                phase_ == PodPhase::succeeded ? "Completed" : "Error", started, now.wall};
    s.container_statuses.push_back(std::move(status));
  }
  return {.verb = Verb::apply,
          .resource = &reconcile::resource_of<Pod>,
          .name_space = name_space_.str(),
          .name = name_.str(),
          .subresource = "status",
          .query = reconcile::apply_query("kubelet"),
          .body = R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":)" + reconcile::quote(name_) + R"(,"namespace":)" +
                  reconcile::quote(name_space_) + R"(,"uid":)" + reconcile::quote(uid_) + R"(},"status":)" + reconcile::encode(s) + "}"};
}

void PodModel::done(const reconcile::Result<void>& result, Now now) {
  busy_ = false;
  // Gone, or another pod of that name: the watch tells the rest.
  const bool over = result || result.error().code == Code::not_found || result.error().code == Code::conflict;
  if (over) {
    failures_ = 0;
    if (ended_) removed_ = true;
    said_ = std::max(said_, sent_);
    return;
  }
  failures_ = static_cast<std::uint8_t>(std::min(failures_ + 1, 7));
  not_before_ = now.mono + chance_.between(1s, 1250ms) * (1U << (failures_ - 1U));
}

}  // namespace endstate::fleet
