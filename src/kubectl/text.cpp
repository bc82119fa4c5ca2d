#include "src/kubectl/text.hpp"

#include <algorithm>

namespace endstate::kubectl {
namespace {

// Characters, as far as a terminal's columns go: bytes that don't continue a UTF-8 sequence.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

void draw_below(const Tree& tree, const std::string& margin, std::string& out) {
  for (std::size_t i = 0; i < tree.below.size(); ++i) {
    const bool last = i + 1 == tree.below.size();
    out += margin + (last ? "└── " : "├── ") + plain(tree.below[i].text) + "\n";
    draw_below(tree.below[i], margin + (last ? "    " : "│   "), out);
  }
}

}  // namespace

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], width(plain(row[i])));
    }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto cell = plain(row[i]);
      out += cell;
      if (i + 1 < row.size()) out += std::string(widths[i] - width(cell) + 3, ' ');
    }
    out += "\n";
  }
  return out;
}

std::string draw(const Tree& tree) {
  std::string out = plain(tree.text) + "\n";
  draw_below(tree, "", out);
  return out;
}

std::string age(reconcile::WallTime since, reconcile::WallTime now) {
  if (since == reconcile::WallTime{}) return "-";
  return reconcile::format_duration(std::max(std::chrono::seconds(0), std::chrono::duration_cast<std::chrono::seconds>(now - since)));
}

std::string some_of(const std::vector<reconcile::Text>& names, std::size_t most) {
  if (names.empty()) return "none";
  std::string out;
  const auto shown = names.size() > most + 1 ? most : names.size();  // "and 1 more" says less than the name
  for (std::size_t i = 0; i < shown; ++i) out.append(i ? ", " : "").append(names[i].view());
  if (shown < names.size()) out += " ... and " + std::to_string(names.size() - shown) + " more";
  return out;
}

std::string counted(std::int64_t n, std::string_view thing) { return std::to_string(n) + " " + std::string(thing) + (n == 1 ? "" : "s"); }

std::string clip(std::string_view line, std::size_t columns) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if ((static_cast<unsigned char>(line[i]) & 0xC0U) == 0x80U) continue;
    if (seen++ == columns) return std::string(line.substr(0, i));
  }
  return std::string(line);
}

std::string plain(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return out;
}

}  // namespace endstate::kubectl
