// cut: a text, at most so many bytes of it, never in the middle of a character: half a UTF-8 sequence is no JSON, and the API server would
// refuse the whole object for it.
#pragma once
#include <string_view>

namespace endstate {

inline std::string_view cut(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) --bytes;
  return text.substr(0, bytes);
}

}  // namespace endstate
