#include "reconcile/cache/store.hpp"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "reconcile/cache/equal.hpp"
#include "reconcile/cache/record_size.hpp"

namespace reconcile {
namespace {

int compare(const ObjectMeta& meta, std::string_view name_space, std::string_view name) {
  if (const int c = meta.name_space.view().compare(name_space)) return c;
  return meta.name.view().compare(name);
}
bool before(const ObjectMeta& a, const ObjectMeta& b) { return compare(a, b.name_space.view(), b.name.view()) < 0; }

}  // namespace

std::uint64_t version_number(std::string_view resource_version) {
  std::uint64_t number = 0;
  const char* end = resource_version.data() + resource_version.size();
  const auto [stop, failed] = std::from_chars(resource_version.data(), end, number);
  return failed == std::errc() && stop == end ? number : 0;
}

std::vector<Store::Record>::const_iterator Store::find(std::string_view name_space, std::string_view name) const {
  return std::lower_bound(records_.begin(), records_.end(), 0,
                          [&](const Record& r, int) { return compare(meta(r.object), name_space, name) < 0; });
}

Ref<void> Store::get(std::string_view name_space, std::string_view name) const {
  const auto it = find(name_space, name);
  return it != records_.end() && compare(meta(it->object), name_space, name) == 0 ? it->object : nullptr;
}

MonoTime Store::seen(std::string_view name_space, std::string_view name) const {
  const auto it = find(name_space, name);
  return it != records_.end() && compare(meta(it->object), name_space, name) == 0 ? it->seen : MonoTime::min();
}

std::vector<Ref<void>> Store::list(std::string_view name_space) const {
  std::vector<Ref<void>> out;
  auto it = name_space.empty() ? records_.begin() : find(name_space, {});
  if (name_space.empty()) out.reserve(records_.size());
  for (; it != records_.end() && (name_space.empty() || meta(it->object).name_space == name_space); ++it) out.push_back(it->object);
  return out;
}

std::vector<Ref<void>> Store::by_index(const Index& index, std::string_view value) const {
  auto lookup = std::find_if(indexes_.begin(), indexes_.end(), [&](const Lookup& l) { return l.index.name == index.name; });
  if (lookup == indexes_.end()) {
    lookup = indexes_.insert(indexes_.end(), {index, {}});
    index_all(*lookup);
  }
  std::vector<Ref<void>> out;
  auto it = std::lower_bound(lookup->entries.begin(), lookup->entries.end(), value,
                             [](const Entry& e, std::string_view v) { return e.value.view() < v; });
  for (; it != lookup->entries.end() && it->value == value; ++it) out.push_back(it->object);
  return out;
}

std::vector<Text> Store::values(const Lookup& lookup, const Ref<void>& object) const {
  std::vector<Text> out;
  if (object) lookup.index.values(object.get(), [&](std::string_view value) { out.push_back(pool_.intern(value)); });
  if (out.size() > 1) {
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
  }
  return out;
}

// Where an object of that key stands under that value, or would.
std::vector<Store::Entry>::iterator Store::entry(Lookup& lookup, const Text& value, const Ref<void>& object) const {
  return std::lower_bound(lookup.entries.begin(), lookup.entries.end(), value, [&](const Entry& e, const Text& v) {
    if (!(e.value == v)) return e.value.view() < v.view();
    return before(meta(e.object), meta(object));
  });
}

void Store::index_all(Lookup& lookup) const {
  lookup.entries.clear();
  for (const auto& record : records_)
    for (auto& value : values(lookup, record.object)) lookup.entries.push_back({std::move(value), record.object});
  // Records come by key, so a stable sort by value leaves those of one value by key.
  std::stable_sort(lookup.entries.begin(), lookup.entries.end(), [](const Entry& a, const Entry& b) { return a.value < b.value; });
}

// Most updates change no indexed value: then the entry is overwritten where it stands, and nothing moves.
void Store::reindex(const Ref<void>& was, const Ref<void>& is) {
  for (auto& lookup : indexes_) {
    const auto old_values = values(lookup, was), new_values = values(lookup, is);
    const bool in_place = old_values == new_values;
    for (const auto& value : old_values) {
      const auto it = entry(lookup, value, was);
      if (in_place)
        it->object = is;
      else
        lookup.entries.erase(it);
    }
    if (in_place) continue;
    for (const auto& value : new_values) lookup.entries.insert(entry(lookup, value, is), {value, is});
  }
}

bool Store::tell_apart(const Ref<void>& was, const Ref<void>& is) const {
  return !equal(*kind_.type, was.get(), is.get(), &meta(was).resource_version);
}

std::uint32_t Store::size_of(const Ref<void>& object) const {
  return static_cast<std::uint32_t>(record_size(*kind_.type, object.get()));  // a frame has 16 MiB at most
}

void Store::put(Ref<void> object, MonoTime now) {
  const ObjectMeta& m = meta(object);
  newest_ = std::max(newest_, version_number(m.resource_version.view()));
  if (!unreadable_.empty()) forget_unreadable(m.key());
  const auto at = records_.begin() + (find(m.name_space.view(), m.name.view()) - records_.cbegin());
  if (at == records_.end() || compare(meta(at->object), m.name_space.view(), m.name.view()) != 0) {
    const auto bytes = size_of(object);
    bytes_ += bytes;
    records_.insert(at, {object, now, bytes});
    reindex(nullptr, object);
    return tell(nullptr, object);
  }
  const Ref<void> was = at->object;
  if (meta(was).uid == m.uid && meta(was).resource_version == m.resource_version) return;  // seen already (a watch that started over)
  bytes_ -= at->bytes;
  if (meta(was).uid == m.uid) {
    const auto bytes = size_of(object);
    bytes_ += bytes;
    *at = {object, now, bytes};
    reindex(was, object);
    if (tell_apart(was, object)) tell(was, object);
    return;
  }
  records_.erase(at);
  reindex(was, nullptr);
  tell(was, nullptr);
  put(std::move(object), now);
}

void Store::remove(std::string_view name_space, std::string_view name, std::uint64_t version) {
  newest_ = std::max(newest_, version);
  if (!unreadable_.empty()) forget_unreadable({name_space, name});
  const auto it = find(name_space, name);
  if (it == records_.end() || compare(meta(it->object), name_space, name) != 0) return;
  const Ref<void> was = it->object;
  bytes_ -= it->bytes;
  records_.erase(it);
  reindex(was, nullptr);
  tell(was, nullptr);
}

bool Store::is_unreadable(std::string_view name_space, std::string_view name) const {
  return !unreadable_.empty() && unreadable_.contains(Key{name_space, name});
}

void Store::forget_unreadable(const Key& key) {
  const auto it = unreadable_.find(key);
  if (it == unreadable_.end()) return;
  unreadable_text_ -= it->second.text.size();
  unreadable_.erase(it);
}

void Store::limit_text(Unreadable& object, std::size_t& total) {
  if (object.text.size() > max_unreadable_text - total) object.text = {};
  object.text.shrink_to_fit();
  total += object.text.size();
}

void Store::put_unreadable(Unreadable object) {
  newest_ = std::max(newest_, object.version);
  forget_unreadable(object.key);
  const Key key = object.key;
  const auto old = get(key.name_space.view(), key.name.view());
  const bool another = old && !object.uid.empty() && meta(old).uid != object.uid;
  if (another) remove(key.name_space.view(), key.name.view());
  limit_text(object, unreadable_text_);
  unreadable_[key] = std::move(object);
}

void Store::Batch::add(Ref<void> object, MonoTime now) {
  const ObjectMeta& m = store_->meta(object);
  const auto it = store_->find(m.name_space.view(), m.name.view());
  if (share_ && it != store_->records_.end()) {
    const ObjectMeta& old = store_->meta(it->object);
    if (old.uid == m.uid && old.resource_version == m.resource_version && compare(old, m.name_space.view(), m.name.view()) == 0) {
      object = it->object;
      now = it->seen;
    }
  }
  const bool shared = it != store_->records_.end() && object == it->object;
  const auto bytes = shared ? it->bytes : store_->size_of(object);
  if (!shared) bytes_ += bytes;
  if (!unreadable_.empty()) forget(m.key());
  const ObjectMeta& kept = store_->meta(object);
  sorted_ = sorted_ && (records_.empty() || before(store_->meta(records_.back().object), kept));
  records_.push_back({std::move(object), now, bytes});
}

void Store::Batch::forget(const Key& key) {
  const auto it = unreadable_.find(key);
  if (it == unreadable_.end()) return;
  unreadable_text_ -= it->second.text.size();
  unreadable_.erase(it);
}

void Store::Batch::keep(Unreadable object) {
  const Key key = object.key;
  forget(key);
  const auto old = store_->get(key.name_space.view(), key.name.view());
  if (old && (object.uid.empty() || store_->meta(old).uid == object.uid)) add(old, store_->seen(key.name_space.view(), key.name.view()));
  limit_text(object, unreadable_text_);
  unreadable_[key] = std::move(object);
}

void Store::Batch::erase(std::string_view name_space, std::string_view name) {
  if (!unreadable_.empty()) forget({name_space, name});
  std::erase_if(records_, [&](const Item& r) { return compare(store_->meta(r.object), name_space, name) == 0; });
}

// Of two with one key the later stands: it is the newer one (an initial event that was followed by an update).
void Store::Batch::sort() {
  if (sorted_) return;
  std::stable_sort(records_.begin(), records_.end(),
                   [this](const Item& a, const Item& b) { return before(store_->meta(a.object), store_->meta(b.object)); });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < records_.size(); ++i) {
    if (i + 1 < records_.size() && !before(store_->meta(records_[i].object), store_->meta(records_[i + 1].object))) continue;
    if (kept != i) records_[kept] = std::move(records_[i]);
    ++kept;
  }
  records_.erase(records_.begin() + static_cast<std::ptrdiff_t>(kept), records_.end());
  sorted_ = true;
}

void Store::replace(Batch batch, bool another_history) {
  batch.sort();
  batch.records_.shrink_to_fit();
  if (another_history) newest_ = 0;
  bytes_ = 0;
  for (const auto& record : batch.records_) {
    newest_ = std::max(newest_, version_number(meta(record.object).resource_version.view()));
    bytes_ += record.bytes;
  }
  for (const auto& [key, object] : batch.unreadable_) newest_ = std::max(newest_, object.version);
  unreadable_ = std::move(batch.unreadable_);
  unreadable_text_ = batch.unreadable_text_;
  const std::vector<Record> was = std::exchange(records_, std::move(batch.records_));
  for (auto& lookup : indexes_) index_all(lookup);
  // Both are sorted: one walk over the two. The handlers read the new state; deletes come last.
  std::vector<Ref<void>> gone;
  auto old = was.begin();
  for (const auto& record : records_) {
    for (; old != was.end() && before(meta(old->object), meta(record.object)); ++old) gone.push_back(old->object);
    if (old == was.end() || before(meta(record.object), meta(old->object))) {
      tell(nullptr, record.object);
      continue;
    }
    if (meta(old->object).uid != meta(record.object).uid) {
      tell(old->object, nullptr);
      tell(nullptr, record.object);
    } else if (old->object != record.object && tell_apart(old->object, record.object)) {
      tell(old->object, record.object);
    }
    ++old;
  }
  for (; old != was.end(); ++old) gone.push_back(old->object);
  for (const auto& object : gone) tell(object, nullptr);
}

}  // namespace reconcile
