#include "src/common/memory.hpp"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace endstate {
namespace {

// Segments that were never writable hold what the file holds: to drop their pages loses nothing. Those with relocations were writable
// once (PF_W, also where RELRO protects them now), and are left alone.
int drop_code(dl_phdr_info* object, std::size_t, void*) {
  const auto page = static_cast<ElfW(Addr)>(sysconf(_SC_PAGESIZE));
  for (const auto* segment = object->dlpi_phdr; segment != object->dlpi_phdr + object->dlpi_phnum; ++segment) {
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0) continue;
    const auto begin = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
    const auto end = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // NOLINT(performance-no-int-to-ptr): addresses are numbers here
  }
  return 0;
}

}  // namespace

void keep_memory_small() {
  // An arena a thread would keep what each of them once needed. Allocations here are few and short: one lock is no bottleneck.
  mallopt(M_ARENA_MAX, 1);
  // Buffers of requests and lists come from the system and go back to it: in the heap they would leave holes between records, which stay.
  // Setting it also keeps glibc from raising it by itself after the first big list.
  mallopt(M_MMAP_THRESHOLD, 16 * 1024);
  mallopt(M_TRIM_THRESHOLD, 256 * 1024);
}

void give_memory_back() {
  malloc_trim(0);
  dl_iterate_phdr(drop_code, nullptr);
}

}  // namespace endstate
