// Which writes of loops can disturb what runs: the actor refuses them without a granted permit (reconcile/run/actor.hpp). Pure.
//
//   pods             every write but of annotations
//   nodes            deletion; taints that keep pods away or drive them off; whatever is neither a label, nor an annotation, nor the taking
//                    off of a taint. A patch that takes off one of endstate's closing taints opens the node: other NoSchedule taints may
//                    come with it, for no pod could come before.
//   hostassignments  every write but to the status: they are what a host may do now
//   hosts            deletion
//
// What only says a wish (Machine.spec, a deletion that finalizers hold) or only records disturbs nothing: a loop carries it out, by a
// permit of its own. A kind that nobody has judged here counts as disruptive: whoever writes a new one meets this list first.
#pragma once
#include "reconcile/run/loop.hpp"

namespace endstate::guard {

bool disruptive(const reconcile::Action& action);

}  // namespace endstate::guard
