// Only for tests.
#pragma once

namespace endstate::cluster {

// Chance that is the same in every run and on every machine: a linear congruential generator, from its upper half.
class Chance {
 public:
  explicit Chance(unsigned state) : state_(state) {}
  unsigned operator()(unsigned n) {  // 0 to n - 1
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 16) % n;
  }

 private:
  unsigned state_;
};

}  // namespace endstate::cluster
