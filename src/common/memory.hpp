// How this process uses the heap. A program with caches lives for months: what a burst leaves behind is there for good.
#pragma once

namespace endstate {

// To be called first in main(), before any thread. glibc only (mallopt(3)).
void keep_memory_small();

// To be called now and then: gives free pages of the heap back to the system, and lets go of code that was needed once (some 10 MiB of
// start-up, TLS hand-shakes and libraries' tables count as resident). What is needed again comes back from the page cache by a minor
// fault. Costs about a millisecond. Any thread.
void give_memory_back();

}  // namespace endstate
