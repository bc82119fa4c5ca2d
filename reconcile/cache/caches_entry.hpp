// What Caches hold of one watch and of one connection. Private to caches*.cpp.
#pragma once
#include "reconcile/cache/caches.hpp"

namespace reconcile {

struct Caches::Entry {
  std::string cluster;
  Watched what;
  Store store;
  Reflector reflector;
  std::uint64_t relists = 0, undecodable = 0;
  std::size_t frames = 0, frame_bytes = 0;  // since it was last weighed
  // What it must reach before its cluster is in sight again: a version that the collection had since (0: not known yet).
  std::uint64_t mark = 0;
  MonoTime marked{}, retry{};
  bool reread = false;
  int rereads = 0;  // in this gap: one that itself takes longer than a contact lasts would have no end
  Handle asking;

  Entry(Caches& all, const std::string& to, const Watched& w)
      : cluster(to),
        what(w),
        store(*w.kind, all.pool_,
              [this, &all](const Ref<void>& before, const Ref<void>& after) {
                for (const auto& change : all.changes_) change(cluster, store.kind(), before, after);
              }),
        reflector(all.env_, store, all.pool_,
                  {.cluster = to,
                   .name_space = w.name_space,
                   .selector = w.selector,
                   .streaming = all.options_.streaming,
                   .quiet = all.options_.quiet,
                   .contact = all.options_.contact},
                  {.progressed = [this, &all] { progress(all, false); },
                   .relisted =
                       [this, &all] {
                         ++relists;
                         all.look_soon();
                       },
                   .undecodable = [this] { ++undecodable; },
                   .history_broke =
                       [this, &all] {
                         progress(all, true);
                         all.doubt(cluster);
                       },
                   .took =
                       [this, &all](std::size_t bytes) {
                         frames += 1;
                         frame_bytes += bytes;
                         if (frames >= 256 || frame_bytes >= (1u << 20)) all.weigh(cluster);
                       }},
                  all.log_) {}
  void progress(const Caches& all, bool broke) const {
    for (const auto& tell : all.progresses_) tell(cluster, store.kind(), broke);
  }
  void forget_mark() {
    mark = 0;
    reread = false;
    retry = {};
    asking.reset();
  }
};

// How a connection is seen.
struct Caches::Vision {
  Sight sight;
  MonoTime began{};                // its first watch
  MonoTime dark{MonoTime::min()};  // the last time that nothing came from there
  MonoTime hold{MonoTime::min()};  // not in sight before
  bool back = false;               // blind, but contact is back: the marks are being reached
  int failed_probes = 0;           // in a row
};

// A connection that showed too much, until it is tried again.
struct Caches::Excess {
  std::vector<Watched> what;
  Handle timer;
};

}  // namespace reconcile
