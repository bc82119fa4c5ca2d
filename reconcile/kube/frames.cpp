#include "reconcile/kube/frames.hpp"

#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace reconcile {
namespace {

bool space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

bool blank(std::string_view text) {
  for (const char c : text)
    if (!space(c)) return false;
  return true;
}

tl::unexpected<Error> too_long(std::size_t limit) {
  return fail(Code::invalid, "the reply has a frame of more than " + std::to_string(limit) + " bytes");
}

// A buffer that one long frame needed is given back.
void release(std::string& part) {
  if (part.capacity() > (std::size_t{64} << 10))
    std::string().swap(part);
  else
    part.clear();
}

struct Scan {
  bool& quoted;
  bool& escaped;
  std::size_t& depth;

  // True when c closed the object.
  bool byte(char c) {
    if (quoted) {
      if (escaped)
        escaped = false;
      else if (c == '\\')
        escaped = true;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}') {
      return --depth == 0;
    }
    return false;
  }

  // The first position after the object's end at or after `i`, or npos. Most bytes of a big list pass here, so 16 are looked at at once:
  // only quotes and braces matter where there is no backslash.
  std::size_t object_end(std::string_view text, std::size_t i) {
#if defined(__SSE2__)
    const auto quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
    for (; i + 16 <= text.size(); i += 16) {
      const auto block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + i));
      const auto quotes = _mm_cmpeq_epi8(block, quote);
      const auto braces = _mm_or_si128(_mm_cmpeq_epi8(block, open), _mm_cmpeq_epi8(block, close));
      if (escaped || _mm_movemask_epi8(_mm_cmpeq_epi8(block, backslash)) != 0) {
        for (std::size_t j = i; j < i + 16; ++j)
          if (byte(text[j])) return j + 1;
        continue;
      }
      for (auto mask = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(quotes, braces))); mask != 0; mask &= mask - 1) {
        const std::size_t j = i + static_cast<unsigned>(__builtin_ctz(mask));
        if (byte(text[j])) return j + 1;
      }
    }
#endif
    for (; i < text.size(); ++i)
      if (byte(text[i])) return i + 1;
    return std::string_view::npos;
  }
};

}  // namespace

Result<void> WatchSplitter::feed(std::string_view chunk, const FrameSink& sink) {
  while (!chunk.empty()) {
    const auto end = chunk.find('\n');
    const auto piece = chunk.substr(0, end);
    if (part_.size() + piece.size() > limit_) return too_long(limit_);
    if (end == std::string_view::npos) {
      part_.append(piece);
      return {};
    }
    if (part_.empty()) {
      if (!blank(piece)) sink(piece);
    } else {
      part_.append(piece);
      if (!blank(part_)) sink(part_);
      release(part_);
    }
    chunk.remove_prefix(end + 1);
  }
  return {};
}

Result<void> WatchSplitter::finish() const {
  if (!blank(part_)) return fail(Code::unavailable, "the watch was cut inside an event");
  return {};
}

Result<void> ListSplitter::feed(std::string_view chunk, const FrameSink& sink) {
  for (std::size_t i = 0; i < chunk.size();)
    if (auto ok = step(chunk, i, sink); !ok) return ok;
  return {};
}

Result<void> ListSplitter::step(std::string_view chunk, std::size_t& i, const FrameSink& sink) {
  if (at_ == At::in_item) return take_item(chunk, i, sink);
  const char c = chunk[i];
  if (at_ == At::item_or_end || at_ == At::item) {
    if (space(c)) return ++i, Result<void>();
    if (c == '{') {
      at_ = At::in_item;
      quoted_ = escaped_ = false;
      depth_ = 0;
      return take_item(chunk, i, sink);
    }
    if (c != ']' || at_ == At::item) return fail(Code::invalid, "the list has an item that is not an object");
  }
  if (rest_.size() >= limit_) return too_long(limit_);
  rest_.push_back(c);
  ++i;
  if (at_ == At::in_string || at_ == At::in_scalar || at_ == At::in_nested) return step_in_value(c);
  return step_between(c);
}

Result<void> ListSplitter::step_between(char c) {
  if (at_ == At::in_key) {
    if (c == '"' && !escaped_)
      at_ = At::colon;
    else
      key_.push_back(c);
    escaped_ = c == '\\' && !escaped_;
    return {};
  }
  if (space(c)) return {};
  switch (at_) {
    case At::start:
      if (c == '{') return at_ = At::key_or_end, Result<void>();
      break;
    case At::key_or_end:
    case At::key:
      if (c == '"') {
        key_.clear();
        escaped_ = false;
        at_ = At::in_key;
        return {};
      }
      if (c == '}' && at_ == At::key_or_end) return at_ = At::end, Result<void>();
      break;
    case At::colon:
      if (c == ':') return at_ = At::value, Result<void>();
      break;
    case At::value: begin_value(c); return {};
    case At::comma_or_end:
      if (c == ',') return at_ = At::key, Result<void>();
      if (c == '}') return at_ = At::end, Result<void>();
      break;
    case At::item_or_end:  // only its ']' comes here
      at_ = At::comma_or_end;
      return {};
    case At::item_comma_or_end:
      if (c == ',') return at_ = At::item, Result<void>();
      if (c == ']') return at_ = At::comma_or_end, Result<void>();
      break;
    default: break;
  }
  return fail(Code::invalid, at_ == At::end ? "the list is followed by something else" : "the reply is not a JSON list");
}

void ListSplitter::begin_value(char c) {
  value_at_ = rest_.size() - 1;
  if (key_ == "items") items_ = true;
  if (key_ == "items" && c == '[') {
    at_ = At::item_or_end;
  } else if (c == '"') {
    at_ = At::in_string;
    escaped_ = false;
  } else if (c == '{' || c == '[') {
    at_ = At::in_nested;
    quoted_ = escaped_ = false;
    depth_ = 1;
  } else {
    at_ = At::in_scalar;
  }
}

Result<void> ListSplitter::step_in_value(char c) {
  if (at_ == At::in_scalar) {
    if (c != ',' && c != '}' && !space(c)) return {};
    rest_.pop_back();  // it is not the value's
    end_value();
    rest_.push_back(c);
    return step_between(c);
  }
  if (at_ == At::in_string) {
    if (c == '"' && !escaped_) return end_value(), Result<void>();
    escaped_ = c == '\\' && !escaped_;
    return {};
  }
  if (quoted_) {
    if (c == '"' && !escaped_) quoted_ = false;
    escaped_ = c == '\\' && !escaped_;
  } else if (c == '"') {
    quoted_ = true;
    escaped_ = false;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if ((c == '}' || c == ']') && --depth_ == 0) {
    end_value();
  }
  return {};
}

void ListSplitter::end_value() {
  at_ = At::comma_or_end;
  const std::string_view value = std::string_view(rest_).substr(value_at_);
  if (key_ == "metadata" && value.front() == '{') {
    metadata_at_ = value_at_;
    metadata_size_ = value.size();
  } else if (key_ == "kind") {
    status_ = value == "\"Status\"";
  }
}

Result<void> ListSplitter::take_item(std::string_view chunk, std::size_t& i, const FrameSink& sink) {
  const auto end = Scan{quoted_, escaped_, depth_}.object_end(chunk, i);
  const auto piece = chunk.substr(i, end == std::string_view::npos ? end : end - i);
  i += piece.size();
  if (part_.size() + piece.size() > limit_) return too_long(limit_);
  if (end == std::string_view::npos) {
    part_.append(piece);
    return {};
  }
  at_ = At::item_comma_or_end;
  if (part_.empty()) {
    sink(piece);
  } else {
    part_.append(piece);
    sink(part_);
    release(part_);
  }
  return {};
}

Result<void> ListSplitter::finish(const FrameSink& sink) {
  if (at_ != At::end) return fail(Code::unavailable, "the list was cut before its end");
  if (status_) return fail(Code::unavailable, "the server sent a Status in place of a list");
  if (!items_) return fail(Code::invalid, "the reply is not a list: it has no items");
  std::string last = "{\"metadata\":";
  last.append(metadata_size_ == 0 ? std::string_view("{}") : std::string_view(rest_).substr(metadata_at_, metadata_size_)).append("}");
  sink(last);
  return {};
}

}  // namespace reconcile
