// Text for people: tables as kubectl's, trees, ages. Pure.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/base/text.hpp"
#include "reconcile/base/time.hpp"

namespace endstate::kubectl {

// Columns padded to their widest cell, three blanks between them; the last one isn't padded.
std::string table(const std::vector<std::vector<std::string>>& rows);

// A line and what stands below it.
struct Tree {
  std::string text;
  std::vector<Tree> below{};
  Tree& add(std::string line) {
    below.push_back({std::move(line)});
    return below.back();
  }
};
std::string draw(const Tree& tree);

// "3m20s"; "-" for a time that isn't known.
std::string age(reconcile::WallTime since, reconcile::WallTime now);
// "none", "a", "a, b", or the first `most` and "... and 37 more".
std::string some_of(const std::vector<reconcile::Text>& names, std::size_t most);
std::string counted(std::int64_t n, std::string_view thing);  // "1 machine", "2 machines"
// At most that many columns of a terminal (bytes of ASCII; longer UTF-8 sequences aren't cut in the middle).
std::string clip(std::string_view line, std::size_t columns);
// Control characters (of a name or message that somebody else wrote) can't steer the terminal.
std::string plain(std::string_view text);

}  // namespace endstate::kubectl
