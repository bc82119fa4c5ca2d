#include "controllers/machine/host_pool.hpp"

#include <algorithm>
#include <string>

namespace endstate {

using reconcile::MonoTime;
using reconcile::Text;

namespace {

std::uint64_t mix(std::string_view a, std::string_view b) {  // FNV-1a, then a finalizer: its low bits alone are too regular
  std::uint64_t h = 14695981039346656037ULL;
  for (const char c : a) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  h = (h ^ 0xff) * 1099511628211ULL;
  for (const char c : b) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  return h ^ (h >> 33);
}

}  // namespace

bool HostPool::stale(MonoTime now) const { return !refreshed_ || now - *refreshed_ >= max_age; }

std::size_t& HostPool::usage(std::string_view group, std::string_view domain) {
  std::string key(group);
  key.push_back('\n');
  key.append(domain);
  return usage_[std::move(key)];
}

void HostPool::refresh(const std::vector<Free>& free, const std::vector<Used>& used, MonoTime now) {
  domains_.clear();
  usage_.clear();
  std::unordered_map<std::string_view, std::size_t> place;
  std::unordered_map<std::string_view, bool> still_free;
  for (const Free& host : free) {
    const auto [it, is_new] = place.try_emplace(host.domain.view(), domains_.size());
    if (is_new) domains_.push_back({host.domain, {}});
    domains_[it->second].free.push_back(host);
    still_free.emplace(host.uid.view(), true);
  }
  for (Domain& domain : domains_)
    std::sort(domain.free.begin(), domain.free.end(), [](const Free& a, const Free& b) { return a.uid < b.uid; });
  std::sort(domains_.begin(), domains_.end(), [](const Domain& a, const Domain& b) { return a.name < b.name; });
  for (const Used& host : used) ++usage(host.group, host.domain);
  // A reservation whose host is no longer free has come true (or was lost to another): the caches count it from now on.
  for (auto it = reservations_.begin(); it != reservations_.end();) {
    if (it->second.until <= now || !still_free.contains(it->second.host_uid.view())) {
      reserved_hosts_.erase(it->second.host_uid.str());
      it = reservations_.erase(it);
    } else {
      ++usage(it->second.group, it->second.domain);
      ++it;
    }
  }
  free_count_ = free.size();
  refreshed_ = now;
}

bool HostPool::reserved_by_other(const Free& host, std::string_view machine_uid, MonoTime lives_past) const {
  const auto it = reserved_hosts_.find(host.uid.str());
  if (it == reserved_hosts_.end() || it->second == machine_uid) return false;
  const auto owner = reservations_.find(it->second);
  return owner != reservations_.end() && owner->second.until > lives_past;
}

const HostPool::Free* HostPool::choose_in(const Domain& domain, std::string_view machine_uid, MonoTime lives_past,
                                          const std::function<bool(const Text&)>& refuse) const {
  const std::size_t n = domain.free.size();
  const std::size_t first = n ? mix(machine_uid, domain.name) % n : 0;
  for (std::size_t i = 0; i < n; ++i) {
    const Free& host = domain.free[(first + i) % n];
    if (!reserved_by_other(host, machine_uid, lives_past) && !(refuse && refuse(host.name))) return &host;
  }
  return nullptr;
}

void HostPool::release(std::string_view machine_uid) {
  const auto it = reservations_.find(std::string(machine_uid));
  if (it == reservations_.end()) return;
  --usage(it->second.group, it->second.domain);
  if (const auto host = reserved_hosts_.find(it->second.host_uid.str()); host != reserved_hosts_.end() && host->second == machine_uid)
    reserved_hosts_.erase(host);
  reservations_.erase(it);
}

Text HostPool::pick(std::string_view machine_uid, std::string_view group, MonoTime now, const std::function<bool(const Text&)>& refuse) {
  const std::string uid(machine_uid);
  if (const auto it = reservations_.find(uid); it != reservations_.end()) {
    if (it->second.until > now && !(refuse && refuse(it->second.host_name))) return it->second.host_name;
    release(machine_uid);
  }
  std::vector<std::pair<std::pair<std::size_t, std::uint64_t>, const Domain*>> order;
  order.reserve(domains_.size());
  for (const Domain& domain : domains_) order.push_back({{usage(group, domain.name), mix(machine_uid, domain.name)}, &domain});
  std::sort(order.begin(), order.end());
  // A claim comes back sooner than a reservation ends. Who waits for a permit, or died, may have one for longer: then it is passed on.
  for (const auto lives_past : {now, now + (reservation - patience)})
    for (const auto& [rank, domain] : order) {
      const Free* host = choose_in(*domain, machine_uid, lives_past, refuse);
      if (!host) continue;
      if (const auto owner = reserved_hosts_.find(host->uid.str()); owner != reserved_hosts_.end()) release(std::string(owner->second));
      ++usage(group, domain->name);
      reserved_hosts_[host->uid.str()] = uid;
      reservations_[uid] = {host->uid, host->name, domain->name, group, now + reservation};
      return host->name;
    }
  return {};
}

}  // namespace endstate
