// frames: cut a body into frames while it arrives: a watch stream into its events, a list into its items. Pure. Nothing is parsed, and
// nothing is held but a frame that is not complete yet; a frame that lies whole in a chunk is handed out without a copy.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "reconcile/base/result.hpp"

namespace reconcile {

inline constexpr std::size_t max_frame = std::size_t{16} << 20;
using FrameSink = std::function<void(std::string_view frame)>;  // a frame is valid during the call only

// A watch: JSON values, each ended by a newline (apimachinery's runtime/serializer/json framer; JSON has no raw newline in a string).
class WatchSplitter {
 public:
  explicit WatchSplitter(std::size_t limit = max_frame) : limit_(limit) {}
  Result<void> feed(std::string_view chunk, const FrameSink& sink);
  Result<void> finish() const;  // an event that was cut is an error

 private:
  std::size_t limit_;
  std::string part_;
};

// A list: {"kind":"MachineList","metadata":{...},"items":[{...},...]}, its members in any order. Each item is a frame, as it stands
// (the API server leaves out apiVersion and kind of items); last {"metadata":{...}}. That the text is balanced is checked, that an item
// is valid JSON is its decoder's duty.
class ListSplitter {
 public:
  explicit ListSplitter(std::size_t limit = max_frame) : limit_(limit) {}
  Result<void> feed(std::string_view chunk, const FrameSink& sink);
  // Hands out the last frame. Truncated text, text after the end, and an object that is no list are errors.
  Result<void> finish(const FrameSink& sink);
  // After the last feed: the body if it is a metav1.Status in place of a list, else empty.
  std::string_view status() const { return status_ ? std::string_view(rest_) : std::string_view(); }

 private:
  enum class At : unsigned char { start, key_or_end, key, colon, value, scalar, string, nested, comma_or_end, items, item, item_next, end };
  Result<void> step(std::string_view chunk, std::size_t& i, const FrameSink& sink);
  Result<void> skip_nested(std::string_view chunk, std::size_t& i, bool& closed);
  Result<void> take_item(std::string_view chunk, std::size_t& i, const FrameSink& sink);
  void end_value();

  std::size_t limit_;
  At at_ = At::start;
  bool quoted_ = false, escaped_ = false;  // inside a string; after a backslash in it
  std::size_t depth_ = 0;
  std::string key_;                                  // the member whose value is being read
  std::size_t value_at_ = 0;                         // where that value starts in rest_
  std::size_t metadata_at_ = 0, metadata_size_ = 0;  // in rest_
  bool status_ = false, list_ = false;
  std::string rest_;  // the body without its items
  std::string part_;  // an item of which the start came in an earlier chunk
};

}  // namespace reconcile
