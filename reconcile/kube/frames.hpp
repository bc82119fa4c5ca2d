// frames: cut a body into frames while it arrives: a watch stream into its events, a list into its items. Pure. Nothing is parsed, and
// nothing is held but a frame that is not complete yet; a frame that lies whole in a chunk is handed out without a copy.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "reconcile/base/result.hpp"

namespace reconcile {

inline constexpr std::size_t max_frame = std::size_t{16} << 20;
using FrameSink = std::function<void(std::string_view frame)>;  // a frame is valid during the call only

// A watch: JSON values, each ended by a newline (apimachinery's json framer; JSON has no raw newline in a string).
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
// (the API server leaves out apiVersion and kind of items); last comes {"metadata":{...}}. Frames end where braces balance; that a frame
// is valid JSON is its decoder's duty.
class ListSplitter {
 public:
  explicit ListSplitter(std::size_t limit = max_frame) : limit_(limit) {}
  Result<void> feed(std::string_view chunk, const FrameSink& sink);
  // Hands out the last frame. Truncated text, text after the end, and an object without items are errors.
  Result<void> finish(const FrameSink& sink);
  // After the last feed: the body if it is a metav1.Status in place of a list, else empty.
  std::string_view status() const { return status_ ? std::string_view(rest_) : std::string_view(); }

 private:
  enum class At : std::uint8_t {
    start,  // of the list
    key_or_end,
    key,  // its first member, or none; a further member
    in_key,
    colon,
    value,
    in_string,
    in_scalar,
    in_nested,  // a member's value, but items
    comma_or_end,
    item_or_end,
    item,
    in_item,
    item_comma_or_end,
    end,
  };
  // Consumes at least one byte of chunk at i, or changes at_.
  Result<void> step(std::string_view chunk, std::size_t& i, const FrameSink& sink);
  Result<void> step_between(char c);   // the structure around values
  Result<void> step_in_value(char c);  // a member's value
  Result<void> take_item(std::string_view chunk, std::size_t& i, const FrameSink& sink);
  void begin_value(char c);
  void end_value();

  std::size_t limit_;
  At at_ = At::start;
  bool quoted_ = false, escaped_ = false;  // inside a string; after a backslash in it
  std::size_t depth_ = 0;
  std::string key_;                                  // the member whose value is being read, raw
  std::size_t value_at_ = 0;                         // where that value starts in rest_
  std::size_t metadata_at_ = 0, metadata_size_ = 0;  // in rest_
  bool status_ = false, items_ = false;
  std::string rest_;  // the body without its items
  std::string part_;  // an item of which the start came in an earlier chunk
};

}  // namespace reconcile
