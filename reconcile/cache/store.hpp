// Store: the records of one kind in one cluster. A record is the decoded object itself, immutable and shared; on top of it the store
// keeps 32 bytes a record, and 24 more for each index that someone asked for. For the Env's thread only.
//
// The order of what handlers see (tools/cache of client-go, but with the whole new state in place before the first of them runs):
//   - replace(): the store holds the new state first; then come adds and updates by key, then the deletes that it implied
//   - an object that has another uid than the one it replaces is a delete, then an add
//   - an update that changes nothing but resourceVersion is kept and not told
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "reconcile/cache/view.hpp"

namespace reconcile {

// Resource versions are compared as numbers (KEP-5504 makes that a promise of the API). Anything else is 0: "not known".
std::uint64_t version_number(std::string_view resource_version);

// An object that is there and can't be read: a later version of a type, or nobody's. What was last read of it stands in the store, if
// anything was; that is then older than `version`, and nobody's fault.
struct Unreadable {
  Key key;  // empty: not even its name could be read
  Text uid;
  std::uint64_t version = 0;
  std::string text;  // as it came, for who can make something of a part; empty when there was too much of it (max_unreadable_text)
};
inline constexpr std::size_t max_unreadable_text = 1u << 20;  // of all of a store

class Store {
 public:
  // Null `before`: it is new. Null `after`: it is gone. Handlers may read the store, not change it.
  using Handler = std::function<void(const Ref<void>& before, const Ref<void>& after)>;
  // `pool`: where the values of indexes are interned; they are the objects' own strings.
  Store(const Kind& kind, Pool& pool, Handler handler) : kind_(kind), pool_(pool), handler_(std::move(handler)) {}
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const Kind& kind() const { return kind_; }
  std::size_t size() const { return records_.size(); }  // without what can't be read and never could

  Ref<void> get(std::string_view name_space, std::string_view name) const;
  std::vector<Ref<void>> list(std::string_view name_space) const;  // "": all; by key
  // By key. The index is built when it is first asked for, and kept up to date from then on. Its name tells it from the kind's others.
  std::vector<Ref<void>> by_index(const Index& index, std::string_view value) const;
  MonoTime seen(std::string_view name_space, std::string_view name) const;  // min() if it isn't there

  using Broken = std::map<Key, Unreadable>;
  const Broken& unreadable() const { return unreadable_; }
  bool is_unreadable(std::string_view name_space, std::string_view name) const;
  // The highest version of an object that was ever in here (or of its end), not of a bookmark: another's cache of the same kind reaches it
  // by the same event. 0: there was none.
  std::uint64_t newest() const { return newest_; }
  std::size_t bytes() const { return bytes_; }  // of all records, by record_size()

  void put(Ref<void> object, MonoTime now);                                                    // adds or replaces
  void remove(std::string_view name_space, std::string_view name, std::uint64_t version = 0);  // version: of its end
  // It is there now, and can't be read. A record of another uid is of one that is gone.
  void put_unreadable(Unreadable object);

  // A complete new state, put together while the old one is still served. A record that has the uid and resourceVersion of one that the
  // store holds is shared with it, so that a relist of an unchanged cluster costs no memory.
  class Batch {
   public:
    // share: not after the server's history may have been another's, where the same version can have held something else.
    explicit Batch(const Store& store, bool share = true) : store_(&store), share_(share) {}
    void add(Ref<void> object, MonoTime now);
    void keep(Unreadable object);  // the record as it stands, if there is one
    void erase(std::string_view name_space, std::string_view name);
    std::size_t size() const { return records_.size() + unreadable_.size(); }
    std::size_t bytes() const { return bytes_; }  // of what is not shared with the store

   private:
    friend class Store;
    struct Item {
      Ref<void> object;
      MonoTime seen;
      std::uint32_t bytes;
    };
    const Store* store_;
    std::vector<Item> records_;
    Broken unreadable_;
    std::size_t unreadable_text_ = 0, bytes_ = 0;
    bool share_;
    bool sorted_ = true;
    void sort();
    void forget(const Key& key);
  };
  // another_history: what was seen before counts for nothing.
  void replace(Batch batch, bool another_history = false);

 private:
  using Record = Batch::Item;
  struct Entry {
    Text value;
    Ref<void> object;
  };
  struct Lookup {  // one index
    Index index;
    std::vector<Entry> entries;  // by (value, key)
  };
  const ObjectMeta& meta(const Ref<void>& object) const { return kind_.meta(object.get()); }
  std::vector<Record>::const_iterator find(std::string_view name_space, std::string_view name) const;
  std::vector<Text> values(const Lookup& lookup, const Ref<void>& object) const;  // sorted, each once
  std::vector<Entry>::iterator entry(Lookup& lookup, const Text& value, const Ref<void>& object) const;
  void index_all(Lookup& lookup) const;
  void reindex(const Ref<void>& before, const Ref<void>& after);
  bool tell_apart(const Ref<void>& before, const Ref<void>& after) const;
  void tell(const Ref<void>& before, const Ref<void>& after) const {
    if (handler_) handler_(before, after);
  }

  const Kind& kind_;
  Pool& pool_;
  Handler handler_;
  void forget_unreadable(const Key& key);
  static void limit_text(Unreadable& object, std::size_t& total);
  std::uint32_t size_of(const Ref<void>& object) const;

  std::vector<Record> records_;        // by (namespace, name): 10,000 records are found in 14 comparisons, and listed in order
  mutable std::list<Lookup> indexes_;  // few; mutable: built on first use
  Broken unreadable_;
  std::size_t unreadable_text_ = 0, bytes_ = 0;
  std::uint64_t newest_ = 0;
};

}  // namespace reconcile
