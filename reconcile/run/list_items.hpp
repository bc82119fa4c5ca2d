// Lists that are asked for once (Query::items): read page by page, each item decoded at once into a record, its text dropped. For the
// Env's thread only.
//
// Pages are of 500. A query with `resourceVersion=0` is one page: API servers answer that from memory and look at no limit
// (k8s.io/apiserver storage/cacher, GetList), and a list is cut into frames as it streams, so that costs no more memory here. Ask so while
// polling, and without it (a quorum read) for the answer that something irrevocable depends on.
#pragma once
#include <cstddef>
#include <functional>
#include <vector>

#include "reconcile/base/env.hpp"
#include "reconcile/run/loop.hpp"

namespace reconcile {

constexpr std::size_t max_items = 4'096, max_item_bytes = 16u << 20;  // of one answer, as records; more is Code::invalid
constexpr int max_pages = 32;

using Items = std::vector<Ref<void>>;

// `done` comes once, never from inside this call, with all items in the API server's order, or with why there is no whole answer: an item
// that can't be read fails the list (what is missing must not look as if it were gone). Dropping the handle cancels. `pool` must live
// longer than the handle.
[[nodiscard]] Handle list_items(Env& env, Pool& pool, const Query& query, std::function<void(Result<Items>)> done);

}  // namespace reconcile
