// SIGTERM and SIGINT as a call, on a thread of its own (nothing is done in a signal handler). Make it before any other thread: threads
// inherit the mask that keeps these signals for it. A second signal ends the process at once, for a person who won't wait.
#pragma once
#include <functional>
#include <thread>

namespace endstate {

class StopSignal {
 public:
  // `on_stop` runs once, on that thread.
  explicit StopSignal(std::function<void()> on_stop);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

 private:
  std::thread thread_;
};

// Called first in main(): blocks the two signals in this and every later thread.
void block_stop_signals();

}  // namespace endstate
