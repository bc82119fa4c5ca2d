// api_error: what an API server's refusal means (metav1.Status; the reasons stand in apimachinery's pkg/apis/meta/v1/types.go).
//
//   404                       not_found       409 AlreadyExists         exists        409 otherwise  conflict
//   410, Expired, Gone        gone            400 405 406 413 415 422   invalid       401 403        forbidden
//   429                       throttled       5xx                       unavailable   3xx            unavailable (never followed)
// A 422 about metadata.uid is a conflict: that is how an apply with the uid of a predecessor is refused while a successor exists.
// A write that is answered 500, 502 or 504 may have been done (an etcd timeout, a proxy that gave up): maybe_done. But a 500 that is a
// Status with the reason InternalError is an answer (a webhook that failed, a pod under two budgets): unavailable, with its words.
// Error::reason is the Status' reason; but "ResourceVersionTooLarge" when one of its causes says so: a list or watch asked for a
// version that this API server has not seen yet, read again without one.
#pragma once
#include <chrono>
#include <optional>
#include <string_view>

#include "reconcile/base/env.hpp"

namespace reconcile {

// `http_status`: of the reply, 0 to take it from the body (an in-band error of a watch). `body`: a Status or anything else; at most its
// first 1 KiB goes into the message when it is no Status. `retry_after`: of the reply's header; the body's stands if that is 0.
// The message has the server's, without the regular expressions that it was judged by, and the fields that its causes name:
// "spec.replicas: must be 0 or more". At most 2 KiB.
Error api_error(int http_status, std::string_view body, bool write = false, std::chrono::milliseconds retry_after = {});

// The error that a frame of a watch carries ({"type":"ERROR","object":{"kind":"Status",...}}); nullopt for every other event. Cheap.
std::optional<Error> watch_error(std::string_view frame);

}  // namespace reconcile
