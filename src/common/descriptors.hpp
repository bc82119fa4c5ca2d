// How many files and sockets this process may have open.
#pragma once
#include <cstdint>

namespace endstate {

// The soft limit goes up to the hard one, as Go programs do it (os/rlimit.go): shells and systemd give 1,024 for the sake of programs that
// use select(2), and an operator of some 500 hosted clusters has two sockets to each. Returns the limit that holds now.
std::uint64_t raise_descriptor_limit();

}  // namespace endstate
