#include "reconcile/kube/curl_env.hpp"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <ctime>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <random>
#include <stdexcept>
#include <unordered_map>
#include <variant>
#include <vector>

#include "reconcile/base/free_by.hpp"
#include "reconcile/base/server_clock.hpp"
#include "reconcile/kube/api_error.hpp"
#include "reconcile/kube/ends.hpp"
#include "reconcile/kube/frames.hpp"
#include "reconcile/kube/poller.hpp"
#include "reconcile/kube/timer_heap.hpp"
#include "reconcile/kube/url.hpp"
#include "reconcile/kube/worker_pool.hpp"

namespace reconcile {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_error_body = std::size_t{64} << 10;
constexpr int max_tries = 3;        // of a read that the server asked to repeat later
constexpr auto silent_peer = 20s;   // sent data that no one acknowledges, or keepalives that no one answers
constexpr int looks_a_reading = 6;  // files are read when they look changed, and each 6th time anyway: once a minute
constexpr auto longest_poll = 60s;
// Interrupt moderation, as network cards do it: a turn costs nearly the same for one answer as for fifty, and answers of a busy server
// trickle. Under load there are at most 500 turns a second; a call waits 2 ms longer at the most.
constexpr auto shortest_turn = 2ms;
constexpr int rounds_a_turn = 4;  // of what libcurl wants to be called for at once; more waits for the next turn
constexpr std::size_t spare_handles = 16;
// Connections that nobody uses at the moment: by default four for each transfer under way, so that few calls to many servers would make a
// TLS connection each time. Two for each of 500 servers; the one that was used longest ago goes first.
constexpr long kept_connections = 1'000;
constexpr long upload_buffer = 16L << 10;  // libcurl's least: bodies are small, and its 64 KiB would be kept by each spare

WallTime local_wall() { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); }

MonoTime mono_now() {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return MonoTime(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

std::chrono::milliseconds until(std::optional<MonoTime> due, std::chrono::milliseconds at_most) {
  if (!due) return at_most;
  return std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*due - mono_now()), 0ms, at_most);
}

using Easy = std::unique_ptr<CURL, FreeBy<curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, FreeBy<curl_multi_cleanup>>;
using Headers = std::unique_ptr<curl_slist, FreeBy<curl_slist_free_all>>;

// Exactly once in a process, whoever is first (curl_global_init's own rule).
void init_curl() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw std::runtime_error("libcurl can't be initialised");
  });
}

// libcurl leaves SIGPIPE to us (CURLOPT_NOSIGNAL), and OpenSSL may raise it when a peer has closed.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~SigpipeBlocked() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    const timespec none{};
    while (sigtimedwait(&sigpipe_, nullptr, &none) == SIGPIPE) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

 private:
  sigset_t sigpipe_{}, before_{};
};

template <class V>
void set(CURL* easy, CURLoption option, V value) {
  if (const auto result = curl_easy_setopt(easy, option, value); result != CURLE_OK)
    throw std::logic_error("curl_easy_setopt(" + std::to_string(option) + "): " + curl_easy_strerror(result));
}

void set_blob(CURL* easy, CURLoption option, const std::string& text) {
  curl_blob blob{const_cast<char*>(text.data()), text.size(), CURL_BLOB_NOCOPY};  // the transfer keeps the text alive
  set(easy, option, &blob);
}

std::string bracketed(const std::string& host) { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

bool lost_connection(CURLcode result) {
  switch (result) {
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
  }
}

// "host:port" of an http or https URL; empty for any other, and where it holds a password.
std::string_view authority_of(std::string_view url) {
  if (url.rfind("http://", 0) != 0 && url.rfind("https://", 0) != 0) return {};
  url.remove_prefix(url.find("://") + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  return url.find('@') == std::string_view::npos ? url : std::string_view();
}

struct Connection {
  std::string id;
  Credentials credentials;
  Endpoint endpoint;
  std::shared_ptr<const Secrets> secrets;  // null: not readable, `trouble` says why
  Error trouble{};
  std::string signature;
  MonoTime looked{}, read{};
  bool looked_once = false;
  int in_flight = 0;                           // without watches
  std::deque<std::uint64_t> waiting, watches;  // not on the wire yet; some may be over meanwhile
  bool in_line = false;                        // it stands in Core::lines
  bool plain = false;                          // of http(): one authority's line, and nothing else of this
  // The server's Date in an answer, when that was asked for, and when it came. Null: its time is nobody's.
  std::function<void(WallTime date, MonoTime sent, MonoTime received)> dated;

  void refresh(MonoTime now, std::chrono::milliseconds interval, bool force) {
    const bool stale = credentials.source && credentials.source->is_stale();
    if (looked_once && !force && !stale && now - looked < interval) return;
    auto current = files_signature(credentials);
    const bool again = !secrets || force || stale || !looked_once || current != signature ||
                       (!current.empty() && now - read >= looks_a_reading * interval);
    looked_once = true;
    looked = now;
    if (!again) return;
    read = now;
    signature = std::move(current);
    auto loaded = load_secrets(credentials, force);
    if (!loaded)
      trouble = loaded.error();  // what was read before stays in use: files are replaced one after the other
    else if (!secrets || *secrets != *loaded)
      secrets = std::make_shared<const Secrets>(std::move(*loaded));
  }
};

enum class Shape : std::uint8_t { whole, list, watch };
enum class Stage : std::uint8_t { waiting, on_wire, pausing, over };

// One call from its asking to its end, over all its tries.
struct Transfer {
  std::uint64_t id = 0;
  std::shared_ptr<Connection> connection;  // null: http()
  std::shared_ptr<Connection> line;        // where it waits for its turn: the connection, or its authority's
  // What is asked.
  Request request;
  Call call;  // without its body, which is in request
  Shape shape = Shape::whole;
  bool read = true, repeatable = false;  // changes nothing; may be repeated as Retry-After says
  HttpCall plain;                        // http(): without its body
  std::string label;                     // for messages: "get nodes n1"
  std::shared_ptr<const Secrets> secrets;
  std::size_t max_body = max_frame;
  std::chrono::milliseconds timeout{};
  std::function<void(std::string_view)> frame;
  std::function<void(Result<void>)> end;
  // How it goes.
  Stage stage = Stage::waiting;
  MonoTime asked{}, started{}, heard{}, deadline{};
  std::uint64_t timer = 0, pause = 0;
  int tries = 0;
  bool resent = false, reauthorized = false, handed_out = false;
  std::optional<Result<void>> result;  // set when over, unless cancelled
  // Of one try.
  Easy easy;
  Headers headers;
  Headers connect_to;
  char detail[CURL_ERROR_SIZE]{};
  bool sent = false, sent_twice = false;
  int status = 0;
  Ends ends;  // of the TCP connection
  std::uint64_t bytes = 0;
  std::string body;
  std::variant<std::monostate, ListSplitter, WatchSplitter> splitter;
  std::optional<Error> broken;  // by what was received
  std::exception_ptr thrown;    // by a frame callback

  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer() {  // a Secret may have been in either
    OPENSSL_cleanse(request.body.data(), request.body.size());
    OPENSSL_cleanse(body.data(), body.size());
  }

  bool ok() const { return status >= 200 && status < 300; }
  void hand_out(std::string_view text) {
    if (stage == Stage::over) return;
    handed_out = true;
    frame(text);
  }
  Result<void> take(std::string_view chunk) {
    const FrameSink sink = [this](std::string_view text) { hand_out(text); };
    if (!ok() && connection) {
      body.append(chunk.substr(0, max_error_body - std::min(max_error_body, body.size())));
      return {};
    }
    if (auto* list = std::get_if<ListSplitter>(&splitter)) return list->feed(chunk, sink);
    if (auto* watch = std::get_if<WatchSplitter>(&splitter)) return watch->feed(chunk, sink);
    if (body.size() + chunk.size() > max_body) return fail(Code::invalid, "the reply has more than " + std::to_string(max_body) + " bytes");
    body.append(chunk);
    return {};
  }
  Result<void> take_end() {
    const FrameSink sink = [this](std::string_view text) { hand_out(text); };
    if (auto* list = std::get_if<ListSplitter>(&splitter)) {
      if (!list->status().empty()) return fail(api_error(0, list->status()));
      return list->finish(sink);
    }
    if (auto* watch = std::get_if<WatchSplitter>(&splitter)) return watch->finish();
    if (!body.empty()) hand_out(body);
    return {};
  }
  void begin_try(MonoTime now) {
    ++tries;
    started = heard = now;
    stage = Stage::on_wire;
    sent = sent_twice = false;
    status = 0;
    ends = {};
    bytes = 0;
    detail[0] = '\0';
    body.clear();
    broken.reset();
    if (shape == Shape::list) splitter.emplace<ListSplitter>();
    if (shape == Shape::watch) splitter.emplace<WatchSplitter>();
  }
};

struct Job {
  std::atomic<bool> cancelled{false};
  std::function<std::function<void()>()> work;
};

}  // namespace

struct CurlEnv::Core : std::enable_shared_from_this<CurlEnv::Core> {
  enum class What : std::uint8_t { timer, transfer, job };
  struct Ticket {
    std::weak_ptr<Core> core;
    What what;
    std::uint64_t id;
    Ticket(std::weak_ptr<Core> c, What w, std::uint64_t i) : core(std::move(c)), what(w), id(i) {}
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket() {
      if (const auto alive = core.lock()) alive->cancel(what, id);
    }
  };

  explicit Core(CurlEnvOptions o);
  ~Core();
  Handle handle(What what, std::uint64_t id) { return std::make_shared<Ticket>(weak_from_this(), what, id); }

  // Any thread.
  void post(std::function<void()> task);
  void stop();

  // The owner's.
  void run();
  void turn();
  void drive();
  std::chrono::milliseconds time_to_wait();
  void cancel(What what, std::uint64_t id);
  std::uint64_t start(const std::shared_ptr<Transfer>& t, std::optional<Error> refusal);
  Result<void> connect(const std::string& cluster, Credentials credentials);
  void disconnect(const std::string& cluster);
  std::uint64_t compute(std::function<std::function<void()>()> work);

  // A transfer's life.
  std::shared_ptr<Connection> line_of(const Transfer& t);
  void admit();
  void send(const std::shared_ptr<Transfer>& t);
  void prepare(Transfer& t);
  void set_trust(Transfer& t);
  void set_request(Transfer& t);
  void set_route(Transfer& t);
  void collect();
  void completed(const std::shared_ptr<Transfer>& t, CURLcode code);
  void failed(const std::shared_ptr<Transfer>& t, CURLcode code);
  void refused(const std::shared_ptr<Transfer>& t);
  void send_again(const std::shared_ptr<Transfer>& t, std::chrono::milliseconds pause);
  void timed_out(std::uint64_t id);
  void take_off_wire(Transfer& t);
  void conclude(const std::shared_ptr<Transfer>& t, Result<void> result);
  void finish_concluded();
  void observe(const Transfer& t);
  void drop_silent_connection(const Transfer& t);
  Error explain(const Transfer& t, Error error) const;

  // libcurl's callbacks; `self` is a Transfer or the Core.
  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self);
  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self);
  static int on_send(void* self, char* peer, char* local, int peer_port, int local_port);
  static int on_socket(void* self, curl_socket_t socket, curlsocktype purpose);
  static int on_close(void* self, curl_socket_t socket);
  static int on_interest(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept;
  static int on_timer(CURLM*, long milliseconds, void* self);

  const CurlEnvOptions options;
  ServerClock clock{{mono_now(), local_wall()}};
  std::mt19937_64 random;
  std::uint64_t last_id = 0;
  TimerHeap timers;
  std::map<std::string, std::shared_ptr<Connection>, std::less<>> connections;
  std::map<std::string, std::shared_ptr<Connection>, std::less<>> authorities;  // http()'s lines, while they are used
  std::vector<std::shared_ptr<Connection>> lines;  // those on which calls wait: hundreds of others are not looked at
  std::unordered_map<std::uint64_t, std::shared_ptr<Transfer>> transfers;
  std::deque<std::shared_ptr<Transfer>> concluded;
  std::unordered_map<std::uint64_t, std::shared_ptr<Job>> jobs;
  bool closing = false;

  Poller poller;                        // the sockets of transfers: an idle connection is none of them
  std::optional<MonoTime> libcurl_due;  // when libcurl wants to be called, whatever its sockets do
  std::vector<curl_socket_t> sockets;
  std::vector<Easy> spares;
  Multi multi;  // after what its handles' callbacks use

  std::atomic<bool> stopping{false};
  std::mutex inbox_mutex;
  std::deque<std::function<void()>> inbox;
  WorkerPool workers;  // last: its threads end before anything else does
};

CurlEnv::Core::Core(CurlEnvOptions o) : options(std::move(o)), workers(options.workers) {
  init_curl();
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device(), device(), device(), device(), device()};
  random.seed(seed);
  multi.reset(curl_multi_init());
  if (!multi) throw std::bad_alloc();
  curl_multi_setopt(multi.get(), CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  curl_multi_setopt(multi.get(), CURLMOPT_MAX_HOST_CONNECTIONS, static_cast<long>(options.max_connections));
  curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, kept_connections);
  // By events: curl_multi_perform looks at each transfer, by a poll() of its own, however many of them are watches that say nothing.
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &Core::on_interest);
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &Core::on_timer);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, this);
}

CurlEnv::Core::~Core() {
  closing = true;
  workers.stop();
  for (auto& [id, t] : transfers)
    if (t->easy) curl_multi_remove_handle(multi.get(), t->easy.get());
  for (auto& t : concluded)
    if (t->easy) curl_multi_remove_handle(multi.get(), t->easy.get());
}

void CurlEnv::Core::post(std::function<void()> task) {
  {
    const std::lock_guard lock(inbox_mutex);
    inbox.push_back(std::move(task));
  }
  poller.wake();
}

void CurlEnv::Core::stop() {
  stopping = true;
  poller.wake();
}

void CurlEnv::Core::run() {
  const SigpipeBlocked no_sigpipe;
  while (!stopping) {
    const auto began = mono_now();
    turn();
    if (stopping) break;
    if (time_to_wait() > 0ms) std::this_thread::sleep_for(shortest_turn - (mono_now() - began));
    poller.wait(until(libcurl_due, time_to_wait()));
  }
  stopping = false;
}

void CurlEnv::Core::turn() {
  std::size_t posted = 0;
  {
    const std::lock_guard lock(inbox_mutex);
    posted = inbox.size();
  }
  for (; posted > 0 && !stopping; --posted) {  // what these post in turn waits for the next turn
    std::function<void()> task;
    {
      const std::lock_guard lock(inbox_mutex);
      task = std::move(inbox.front());
      inbox.pop_front();
    }
    task();
  }
  const auto now = mono_now();
  for (auto n = timers.size(); n > 0 && !stopping; --n) {  // those that these ask for wait for the next turn
    const auto task = timers.take_due(now);
    if (!task) break;
    task();
  }
  finish_concluded();
  admit();
  drive();
  collect();
  finish_concluded();
  admit();
}

// Lets libcurl do what its sockets are ready for, and what it wanted to come back for.
void CurlEnv::Core::drive() {
  int running = 0;
  while (const auto ready = poller.next()) {
    const int what = (ready->readable ? CURL_CSELECT_IN : 0) | (ready->writable ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(multi.get(), ready->socket, ready->broken ? 0 : what, &running);  // 0: it looks itself
  }
  for (int round = 0; round < rounds_a_turn && libcurl_due && *libcurl_due <= mono_now(); ++round) {
    libcurl_due.reset();
    curl_multi_socket_action(multi.get(), CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

// noexcept: where a socket can't be watched, no call would ever end. Better to start again.
int CurlEnv::Core::on_interest(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept {
  auto& poller = static_cast<Core*>(self)->poller;
  if (what == CURL_POLL_REMOVE)
    poller.forget(socket);
  else
    poller.watch(socket, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
  return 0;
}

int CurlEnv::Core::on_timer(CURLM*, long milliseconds, void* self) {
  auto& due = static_cast<Core*>(self)->libcurl_due;
  if (milliseconds < 0)
    due.reset();
  else
    due = mono_now() + std::chrono::milliseconds(milliseconds);
  return 0;
}

// For what is our own: libcurl's wish to be called at once doesn't shorten a turn.
std::chrono::milliseconds CurlEnv::Core::time_to_wait() {
  {
    const std::lock_guard lock(inbox_mutex);
    if (!inbox.empty()) return 0ms;
  }
  return concluded.empty() ? until(timers.next(), longest_poll) : 0ms;
}

void CurlEnv::Core::cancel(What what, std::uint64_t id) {
  if (closing) return;
  if (what == What::timer) return timers.cancel(id);
  if (what == What::job) {
    const auto node = jobs.extract(id);
    if (node) node.mapped()->cancelled = true;
    return;
  }
  const auto it = transfers.find(id);
  if (it == transfers.end()) return;
  const auto t = it->second;
  if (t->stage == Stage::over) {
    t->result.reset();  // concluded, but not told yet
    return;
  }
  conclude(t, {});
  t->result.reset();
}

std::uint64_t CurlEnv::Core::start(const std::shared_ptr<Transfer>& t, std::optional<Error> refusal) {
  t->id = ++last_id;
  transfers.emplace(t->id, t);
  if (!refusal) t->line = line_of(*t);
  const std::size_t limit = std::max(t->connection ? options.max_queued : options.max_http_queued, 1);
  if (!refusal && t->line->waiting.size() >= limit) {
    // Those that were cancelled don't count.
    std::erase_if(t->line->waiting, [this](std::uint64_t id) { return !transfers.contains(id); });
    if (t->line->waiting.size() >= limit)
      refusal = Error{Code::unavailable, t->label + ": " + std::to_string(limit) + " calls wait already", {}, {}};
  }
  if (refusal) {
    conclude(t, fail(std::move(*refusal)));
    return t->id;
  }
  t->asked = t->heard = mono_now();
  t->deadline = t->asked + (t->connection ? t->timeout : options.max_http_wait);
  timers.add(t->timer = ++last_id, t->deadline, [this, id = t->id] { timed_out(id); });
  (t->shape == Shape::watch ? t->line->watches : t->line->waiting).push_back(t->id);
  if (!std::exchange(t->line->in_line, true)) lines.push_back(t->line);
  return t->id;
}

std::shared_ptr<Connection> CurlEnv::Core::line_of(const Transfer& t) {
  if (t.connection) return t.connection;
  auto& line = authorities[std::string(authority_of(t.plain.url))];
  if (!line) {
    line = std::make_shared<Connection>();
    line->plain = true;
  }
  return line;
}

// Starts what may start. A watch never waits for its turn.
void CurlEnv::Core::admit() {
  if (lines.empty() || closing) return;
  const auto admit_from = [this](std::deque<std::uint64_t>& queue, int& in_flight, int limit) {
    for (; !queue.empty(); queue.pop_front()) {
      const auto it = transfers.find(queue.front());
      if (it == transfers.end() || it->second->stage != Stage::waiting) continue;  // cancelled, or it has waited too long
      if (in_flight >= limit) return;
      ++in_flight;
      send(std::shared_ptr<Transfer>(it->second));
    }
  };
  const auto admit_on = [&](Connection& line) {
    int watches = 0;  // not counted: they are few, and long
    admit_from(line.watches, watches, options.max_queued);
    admit_from(line.waiting, line.in_flight, line.plain ? options.max_http_in_flight : options.max_in_flight);
  };
  for (const auto& line : lines) admit_on(*line);
  std::erase_if(lines, [](const auto& line) { return !(line->in_line = !line->waiting.empty() || !line->watches.empty()); });
  std::erase_if(authorities, [](const auto& entry) { return entry.second->in_flight == 0 && !entry.second->in_line; });
}

void CurlEnv::Core::send(const std::shared_ptr<Transfer>& t) {
  const auto now = mono_now();
  if (t->connection) {
    t->connection->refresh(now, options.file_interval, false);
    t->secrets = t->connection->secrets;
  } else if (t->tries == 0) {  // its clock starts now: the line may have been long
    t->deadline = now + t->timeout;
    timers.cancel(t->timer);
    timers.add(t->timer = ++last_id, t->deadline, [this, id = t->id] { timed_out(id); });
  }
  t->begin_try(now);
  if (!t->secrets) return conclude(t, fail(Code::unavailable, t->label + ": " + t->connection->trouble.message));
  prepare(*t);
  if (const auto result = curl_multi_add_handle(multi.get(), t->easy.get()); result != CURLM_OK)
    throw std::logic_error(std::string("curl_multi_add_handle: ") + curl_multi_strerror(result));
}

void CurlEnv::Core::prepare(Transfer& t) {
  if (spares.empty()) {
    t.easy.reset(curl_easy_init());
    if (!t.easy) throw std::bad_alloc();
  } else {
    t.easy = std::move(spares.back());
    spares.pop_back();
  }
  CURL* const easy = t.easy.get();
  set(easy, CURLOPT_PRIVATE, &t);
  set(easy, CURLOPT_ERRORBUFFER, static_cast<char*>(t.detail));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_PROTOCOLS_STR, "https,http");
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);  // a proxy's reply is not the server's
  set(easy, CURLOPT_PIPEWAIT, 1L);                  // share the connection that is being made rather than open another
  set(easy, CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer);
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_TCP_KEEPIDLE, 15L);
  set(easy, CURLOPT_TCP_KEEPINTVL, 10L);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set(easy, CURLOPT_WRITEFUNCTION, &Core::on_body);
  set(easy, CURLOPT_WRITEDATA, &t);
  set(easy, CURLOPT_HEADERFUNCTION, &Core::on_header);
  set(easy, CURLOPT_HEADERDATA, &t);
  set(easy, CURLOPT_PREREQFUNCTION, &Core::on_send);
  set(easy, CURLOPT_PREREQDATA, &t);
  set(easy, CURLOPT_SOCKOPTFUNCTION, &Core::on_socket);
  set(easy, CURLOPT_SOCKOPTDATA, this);
  set(easy, CURLOPT_CLOSESOCKETFUNCTION, &Core::on_close);
  set(easy, CURLOPT_CLOSESOCKETDATA, this);
  set_route(t);
  set_trust(t);
  set_request(t);
}

// Where to: the URL, the name that TLS verifies, the proxy.
void CurlEnv::Core::set_route(Transfer& t) {
  CURL* const easy = t.easy.get();
  if (!t.connection) {
    set(easy, CURLOPT_URL, t.plain.url.c_str());
    set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    return;
  }
  const Endpoint& e = t.connection->endpoint;
  const Credentials& c = t.connection->credentials;
  const bool renamed = !c.tls_server_name.empty() && c.tls_server_name != e.host;
  const std::string host = bracketed(e.host) + ":" + e.port;
  const std::string url =
      (e.tls ? "https://" : "http://") + (renamed ? c.tls_server_name + ":" + e.port : host) + e.path + t.request.target;
  set(easy, CURLOPT_URL, url.c_str());
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(e.tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  t.connect_to.reset(renamed ? curl_slist_append(nullptr, (c.tls_server_name + ":" + e.port + ":" + host).c_str()) : nullptr);
  if (renamed) set(easy, CURLOPT_CONNECT_TO, t.connect_to.get());
  if (!c.proxy_url.empty())
    set(easy, CURLOPT_PROXY, c.proxy_url.c_str());
  else if (e.loopback)
    set(easy, CURLOPT_PROXY, "");  // the environment's proxy is not asked, as in Go's http.ProxyFromEnvironment
}

void CurlEnv::Core::set_trust(Transfer& t) {
  CURL* const easy = t.easy.get();
  // Watches have a connection of their own: an API server that is short of CPU hands out a connection's streams so late beside dozens of
  // writes that it ends its watches as unresponsive (seen on 1.34). libcurl shares a connection only between equal TLS settings; these
  // mean the same and are not equal.
  const long newest = t.shape == Shape::watch ? CURL_SSLVERSION_MAX_TLSv1_3 : CURL_SSLVERSION_MAX_DEFAULT;
  set(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 | newest);
  const bool insecure = t.connection && t.connection->credentials.insecure;
  set(easy, CURLOPT_SSL_VERIFYPEER, insecure ? 0L : 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, insecure ? 0L : 2L);
  if (!t.secrets->ca_pem.empty()) {
    set_blob(easy, CURLOPT_CAINFO_BLOB, t.secrets->ca_pem);
    set(easy, CURLOPT_CAPATH, static_cast<char*>(nullptr));  // that CA only, not the system's too
  }
  if (!t.secrets->certificate_pem.empty()) {
    set_blob(easy, CURLOPT_SSLCERT_BLOB, t.secrets->certificate_pem);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, t.secrets->key_pem);
  }
}

void CurlEnv::Core::set_request(Transfer& t) {
  CURL* const easy = t.easy.get();
  curl_slist* list = nullptr;
  const auto header = [&list](const std::string& line) {
    curl_slist* const longer = curl_slist_append(list, line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    list = longer;
  };
  header("User-Agent: " + options.user_agent);
  header("Expect:");  // no waiting for a 100 Continue
  if (t.connection) {
    header("Accept: application/json");
    const Endpoint& e = t.connection->endpoint;
    if (t.connect_to) header("Host: " + bracketed(e.host) + ":" + e.port);
  }
  if (!t.secrets->token.empty()) header("Authorization: Bearer " + t.secrets->token);
  header(t.request.content_type.empty() ? "Content-Type:" : "Content-Type: " + std::string(t.request.content_type));
  t.headers.reset(list);
  set(easy, CURLOPT_HTTPHEADER, t.headers.get());
  if (!t.request.body.empty() || t.request.method == "POST") {
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(t.request.body.size()));
    set(easy, CURLOPT_POSTFIELDS, t.request.body.data());
  }
  if (t.request.method == "HEAD") set(easy, CURLOPT_NOBODY, 1L);
  set(easy, CURLOPT_CUSTOMREQUEST, std::string(t.request.method).c_str());
}

std::size_t CurlEnv::Core::on_body(char* data, std::size_t, std::size_t size, void* self) {
  auto& t = *static_cast<Transfer*>(self);
  if (t.stage == Stage::over) return 0;
  t.heard = mono_now();
  t.bytes += size;
  try {
    if (auto ok = t.take({data, size}); !ok) t.broken = ok.error();
  } catch (...) {
    t.thrown = std::current_exception();  // may not pass through libcurl
  }
  return t.broken || t.thrown ? 0 : size;
}

std::size_t CurlEnv::Core::on_header(char* data, std::size_t, std::size_t size, void* self) {
  auto& t = *static_cast<Transfer*>(self);
  t.heard = mono_now();
  const std::string_view line(data, size);
  if (line == "\r\n" && t.shape == Shape::watch && t.ok()) {  // the end of the header: the watch is accepted
    try {
      t.hand_out({});
    } catch (...) {
      t.thrown = std::current_exception();  // may not pass through libcurl
    }
    return t.thrown ? 0 : size;
  }
  if (t.connection && t.connection->dated && line.size() < 64 && curl_strnequal(data, "date:", 5) != 0) {
    const time_t date = curl_getdate(std::string(line.substr(5)).c_str(), nullptr);
    if (date > 0) t.connection->dated(WallTime(std::chrono::seconds(date)), t.started, t.heard);
  }
  if (line.substr(0, 5) != "HTTP/") return size;  // the last one counts, after 1xx
  long status = 0;
  curl_easy_getinfo(t.easy.get(), CURLINFO_RESPONSE_CODE, &status);
  t.status = static_cast<int>(status);
  return size;
}

// Called before each request goes out. libcurl sends a request again on its own when a connection that it had used before breaks, a
// POST too (Curl_retry_request): what was sent once is never sent twice behind our back.
int CurlEnv::Core::on_send(void* self, char* peer, char*, int peer_port, int local_port) {
  auto& t = *static_cast<Transfer*>(self);
  t.sent_twice = t.sent;
  t.sent = true;
  t.ends = {peer, peer_port, local_port};
  return t.sent_twice ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

int CurlEnv::Core::on_socket(void* self, curl_socket_t socket, curlsocktype) {
  static_cast<Core*>(self)->sockets.push_back(socket);
  // A peer that vanished without a word: minutes by default (kubernetes#87615).
  const auto limit = static_cast<unsigned>(std::chrono::milliseconds(silent_peer).count());
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
  return CURL_SOCKOPT_OK;
}

int CurlEnv::Core::on_close(void* self, curl_socket_t socket) {
  auto& core = *static_cast<Core*>(self);
  std::erase(core.sockets, socket);
  core.poller.forget(socket);
  return close(socket);
}

void CurlEnv::Core::collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* self = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &self);
    const auto code = message->data.result;
    const auto it = transfers.find(reinterpret_cast<Transfer*>(self)->id);
    if (it == transfers.end() || it->second->stage != Stage::on_wire) continue;
    completed(std::shared_ptr<Transfer>(it->second), code);
  }
}

void CurlEnv::Core::completed(const std::shared_ptr<Transfer>& t, CURLcode code) {
  observe(*t);
  if (t->thrown) {
    const auto thrown = t->thrown;
    conclude(t, {});
    t->result.reset();
    std::rethrow_exception(thrown);
  }
  if (t->broken) {
    if (!t->read) t->broken->code = Code::maybe_done;  // it was, but what came of it is not known
    return conclude(t, fail(explain(*t, *t->broken)));
  }
  if (t->status >= 300 && (code == CURLE_OK || lost_connection(code))) return refused(t);
  if (code != CURLE_OK) return failed(t, code);
  auto ended = t->take_end();
  if (t->stage != Stage::over) conclude(t, ended ? std::move(ended) : fail(explain(*t, ended.error())));
}

// No reply, or not all of it.
void CurlEnv::Core::failed(const std::shared_ptr<Transfer>& t, CURLcode code) {
  const bool lost = lost_connection(code) || t->sent_twice;
  if (lost && t->sent && t->read && t->shape != Shape::watch && !t->handed_out && !t->resent) {
    t->resent = true;
    return send_again(t, 0ms);
  }
  std::string what = t->detail[0] != '\0' && !t->sent_twice ? t->detail : curl_easy_strerror(t->sent_twice ? CURLE_RECV_ERROR : code);
  if (code == CURLE_PEER_FAILED_VERIFICATION) what.append(" (check certificate-authority, and tls-server-name if the name differs)");
  const bool perhaps = t->sent && !t->read;
  if (perhaps) what.insert(0, "the reply was lost: ");
  conclude(t, fail(explain(*t, {perhaps ? Code::maybe_done : Code::unavailable, std::move(what), {}, {}})));
}

// A reply that says no.
void CurlEnv::Core::refused(const std::shared_ptr<Transfer>& t) {
  if (t->status == 401 && t->connection && !t->reauthorized && !t->handed_out) {
    t->connection->refresh(mono_now(), options.file_interval, true);
    if (t->connection->secrets != t->secrets) {  // others may have read them meanwhile
      t->reauthorized = true;
      return send_again(t, 0ms);
    }
  }
  curl_off_t seconds = 0;
  curl_easy_getinfo(t->easy.get(), CURLINFO_RETRY_AFTER, &seconds);
  const auto wait = std::chrono::milliseconds(std::chrono::seconds(std::clamp<curl_off_t>(seconds, 0, 3600)));
  Error error = api_error(t->status, t->body, !t->read, wait);
  if (t->status < 400) {
    char* where = nullptr;
    curl_easy_getinfo(t->easy.get(), CURLINFO_REDIRECT_URL, &where);
    error.message = "the server answered a redirect (HTTP " + std::to_string(t->status) + ") to " + std::string(where ? where : "nowhere") +
                    "; redirects are not followed: check the server's address";
  }
  // A version from the future is not waited for: its reader has a better way (reflector.hpp).
  const bool later = (t->status == 429 || t->status >= 500) && wait.count() > 0 && mono_now() + wait < t->deadline &&
                     error.reason != "ResourceVersionTooLarge";
  if (later && t->repeatable && t->tries < max_tries) return send_again(t, wait);
  if (!t->connection) {  // an answer like any other
    t->hand_out(t->body);
    return conclude(t, {});
  }
  conclude(t, fail(explain(*t, std::move(error))));
}

void CurlEnv::Core::send_again(const std::shared_ptr<Transfer>& t, std::chrono::milliseconds pause) {
  take_off_wire(*t);
  t->stage = Stage::pausing;
  timers.add(t->pause = ++last_id, mono_now() + pause, [this, id = t->id] {
    if (const auto it = transfers.find(id); it != transfers.end() && it->second->stage == Stage::pausing)
      send(std::shared_ptr<Transfer>(it->second));
  });
}

void CurlEnv::Core::timed_out(std::uint64_t id) {
  const auto it = transfers.find(id);
  if (it == transfers.end() || it->second->stage == Stage::over) return;
  const std::shared_ptr<Transfer> t = it->second;
  const auto now = mono_now();
  if (t->shape == Shape::watch && now - t->heard < t->timeout) {
    timers.add(t->timer = ++last_id, t->heard + t->timeout, [this, id] { timed_out(id); });
    return;
  }
  const bool perhaps = t->stage == Stage::on_wire && t->sent && !t->read;
  std::string what = t->shape == Shape::watch ? "silent for " : perhaps ? "the reply was lost: none within " : "no reply within ";
  const auto limit = t->stage == Stage::waiting && !t->connection ? options.max_http_wait : t->timeout;
  what.append(std::to_string(limit.count())).append(" ms");
  if (t->stage == Stage::waiting) what.append(" (waiting for its turn)");
  if (t->stage == Stage::on_wire) {
    observe(*t);
    drop_silent_connection(*t);
  }
  conclude(t, fail(explain(*t, {perhaps ? Code::maybe_done : Code::unavailable, std::move(what), {}, {}})));
}

// HTTP/2 would send the next call into a connection whose other end is gone. One that has said nothing to anyone since this call was
// sent is closed, if this call is alone on it or the silence is long.
void CurlEnv::Core::drop_silent_connection(const Transfer& t) {
  if (!t.sent || t.heard > t.started) return;
  bool alone = true;
  MonoTime heard = t.started;
  for (const auto& [id, other] : transfers) {
    if (other.get() == &t || other->stage != Stage::on_wire || other->ends != t.ends) continue;
    alone = false;
    heard = std::max(heard, other->heard);
  }
  if (heard > t.started || (!alone && mono_now() - t.started < silent_peer)) return;
  for (const auto socket : sockets)
    if (ends_of(socket) == t.ends) shutdown(socket, SHUT_RDWR);
}

void CurlEnv::Core::take_off_wire(Transfer& t) {
  if (!t.easy) return;
  curl_multi_remove_handle(multi.get(), t.easy.get());
  curl_easy_reset(t.easy.get());
  if (spares.size() < spare_handles) spares.push_back(std::move(t.easy));
  t.easy.reset();
  t.headers.reset();
  t.connect_to.reset();
}

// The end is told, and libcurl's part is cleaned up, in finish_concluded(): this may be called from inside any callback.
void CurlEnv::Core::conclude(const std::shared_ptr<Transfer>& t, Result<void> result) {
  if (t->stage == Stage::over) return;
  const bool held_a_place = t->shape != Shape::watch && (t->stage == Stage::on_wire || t->stage == Stage::pausing);
  if (held_a_place) --t->line->in_flight;
  t->stage = Stage::over;
  t->result = std::move(result);
  concluded.push_back(t);
}

void CurlEnv::Core::finish_concluded() {
  for (auto n = concluded.size(); n > 0 && !concluded.empty(); --n) {
    const auto t = std::move(concluded.front());
    concluded.pop_front();
    take_off_wire(*t);
    timers.cancel(t->timer);
    timers.cancel(t->pause);
    transfers.erase(t->id);
    if (!t->result) continue;
    const auto end = std::move(t->end);
    end(std::move(*t->result));
  }
}

Error CurlEnv::Core::explain(const Transfer& t, Error error) const {
  std::string message = t.label;
  if (t.connection && !t.connection->id.empty()) message.append(" (cluster ").append(t.connection->id).append(")");
  error.message = std::move(message.append(": ").append(error.message));
  return error;
}

void CurlEnv::Core::observe(const Transfer& t) {
  if (!options.observer) return;
  Exchange e;
  e.status = t.status;
  long version = 0;
  if (t.status != 0) curl_easy_getinfo(t.easy.get(), CURLINFO_HTTP_VERSION, &version);
  e.http_version = version == CURL_HTTP_VERSION_2_0 ? 20 : version == CURL_HTTP_VERSION_3 ? 30 : version == 0 ? 0 : 11;
  e.waited = t.tries == 1 ? t.started - t.asked : std::chrono::nanoseconds(0);
  e.took = mono_now() - t.started;
  e.bytes = t.bytes;
  if (t.connection) {
    e.cluster = t.connection->id;
    e.verb = verb_name(t.call.verb);
    e.resource = t.call.resource ? t.call.resource->plural : std::string_view(t.call.path);
    e.subresource = t.call.subresource;
  } else {
    e.verb = "http";
    e.resource = authority_of(t.plain.url);
  }
  options.observer(e);
}

Result<void> CurlEnv::Core::connect(const std::string& cluster, Credentials credentials) {
  auto endpoint = parse_server(credentials.server);
  if (!endpoint) return fail(Code::invalid, credentials.origin + ": server: " + endpoint.error().message);
  auto secrets = load_secrets(credentials);
  if (!secrets) return fail(secrets.error());
  auto& connection = connections[cluster];
  if (!connection) connection = std::make_shared<Connection>();
  const bool elsewhere =
      connection->credentials.server != credentials.server || (connection->secrets && connection->secrets->ca_pem != secrets->ca_pem);
  connection->id = cluster;
  connection->credentials = std::move(credentials);
  connection->endpoint = std::move(*endpoint);
  if (!connection->secrets || *connection->secrets != *secrets) connection->secrets = std::make_shared<const Secrets>(std::move(*secrets));
  connection->looked_once = false;
  if (!elsewhere) return {};
  for (const auto& [id, t] : transfers)
    if (t->connection == connection && t->stage == Stage::on_wire)
      conclude(t, fail(explain(*t, {t->sent && !t->read ? Code::maybe_done : Code::unavailable, "the connection was replaced", {}, {}})));
  return {};
}

void CurlEnv::Core::disconnect(const std::string& cluster) {
  const auto node = connections.extract(cluster);
  if (!node) return;
  for (const auto& [id, t] : transfers)
    if (t->connection == node.mapped()) conclude(t, fail(explain(*t, {Code::cancelled, "disconnected", {}, {}})));
  node.mapped()->waiting.clear();
  node.mapped()->watches.clear();
}

std::uint64_t CurlEnv::Core::compute(std::function<std::function<void()>()> work) {
  const auto id = ++last_id;
  const auto job = std::make_shared<Job>();
  job->work = std::move(work);
  jobs.emplace(id, job);
  // The Core outlives its workers. The job, and what it leaves behind, are destroyed on the owner's thread: the worker hands both back.
  std::function<void()> task = [this, id, job] {
    auto mine = std::exchange(job->work, nullptr);
    std::function<void()> then;
    std::exception_ptr thrown;
    try {
      if (!job->cancelled) then = mine();
    } catch (...) {
      thrown = std::current_exception();
    }
    post([this, id, mine = std::move(mine), then = std::move(then), thrown = std::move(thrown)] {
      if (!jobs.extract(id)) return;
      if (thrown) std::rethrow_exception(thrown);
      if (then) then();
    });
  };
  if (!workers.submit(task)) post(std::move(task));  // a full queue slows the owner down instead of growing
  return id;
}

CurlEnv::CurlEnv(CurlEnvOptions options, std::optional<Credentials> meta) : core_(std::make_shared<Core>(std::move(options))) {
  if (!meta) return;
  auto connection = std::make_shared<Connection>();
  auto endpoint = parse_server(meta->server);
  if (endpoint)
    connection->endpoint = std::move(*endpoint);
  else
    throw std::invalid_argument("CurlEnv: server: " + endpoint.error().message);
  connection->credentials = std::move(*meta);
  if (core_->options.server_time)
    connection->dated = [core = core_.get()](WallTime date, MonoTime sent, MonoTime received) {  // a connection ends with its Core
      const auto jump = core->clock.take(date, sent, received);
      if (jump && core->options.clock_jumped)
        core->post([core, jump] { core->options.clock_jumped(jump->before, jump->after); });  // this is inside of libcurl
    };
  core_->connections.emplace("", std::move(connection));
}

CurlEnv::~CurlEnv() = default;

void CurlEnv::run() { core_->run(); }
void CurlEnv::stop() { core_->stop(); }
void CurlEnv::post(std::function<void()> task) { core_->post(std::move(task)); }

Now CurlEnv::now() const {
  const auto mono = mono_now();
  return {mono, core_->options.server_time ? core_->clock.wall(mono) : local_wall()};
}

std::uint64_t CurlEnv::random() { return core_->random(); }

Handle CurlEnv::at(MonoTime when, std::function<void()> task) {
  const auto id = ++core_->last_id;
  core_->timers.add(id, when, std::move(task));
  return core_->handle(Core::What::timer, id);
}

Handle CurlEnv::call(Call call, std::function<void(std::string_view frame)> frame, std::function<void(Result<void>)> end) {
  auto t = std::make_shared<Transfer>();
  t->label = describe_call(call);
  t->frame = std::move(frame);
  t->end = std::move(end);
  t->timeout = call.timeout;
  t->read = is_read(call.verb);
  t->repeatable = call.verb == Verb::get || call.verb == Verb::list;
  if (call.resource) t->shape = call.verb == Verb::list ? Shape::list : call.verb == Verb::watch ? Shape::watch : Shape::whole;
  std::optional<Error> refusal;
  if (auto request = request_of(call))
    t->request = std::move(*request);
  else
    refusal = Error{Code::invalid, t->label + ": " + request.error().message, {}, {}};
  if (const auto it = core_->connections.find(call.cluster); it != core_->connections.end())
    t->connection = it->second;
  else if (!refusal)
    refusal = Error{Code::unavailable, t->label + ": cluster '" + call.cluster + "' is not connected", {}, {}};
  call.body.clear();
  t->call = std::move(call);
  return core_->handle(Core::What::transfer, core_->start(t, std::move(refusal)));
}

Handle CurlEnv::http(HttpCall call, std::function<void(Result<HttpAnswer>)> end) {
  auto t = std::make_shared<Transfer>();
  auto body = std::make_shared<std::string>();
  t->frame = [body](std::string_view text) { *body = text; };
  t->end = [body, &status = t->status, end = std::move(end)](Result<void> result) {  // the transfer lives until its end has been told
    if (result)
      end(HttpAnswer{static_cast<int>(status), std::move(*body)});
    else
      end(fail(result.error()));
  };
  t->request.body = std::exchange(call.body, {});
  t->plain = std::move(call);
  t->request.method = t->plain.method;
  t->request.content_type = t->plain.content_type;
  t->label = t->plain.method + " " + t->plain.url.substr(0, t->plain.url.find('?'));  // a query may hold what logs should not
  t->timeout = t->plain.timeout;
  t->max_body = t->plain.max_bytes;
  t->read = t->repeatable = t->plain.method == "GET" || t->plain.method == "HEAD";
  t->secrets = std::make_shared<const Secrets>(Secrets{.ca_pem = t->plain.ca_pem, .token = t->plain.bearer_token});
  std::optional<Error> refusal;
  if (authority_of(t->plain.url).empty())
    refusal = Error{Code::invalid, "url: must start with http:// or https:// and a host, without a user", {}, {}};
  else if (auto safe = may_carry_token(t->plain.url); !t->plain.bearer_token.empty() && !safe)
    refusal = safe.error();
  for (const auto* text : {&t->plain.method, &t->plain.content_type, &t->plain.bearer_token})
    if (text->find_first_of("\r\n") != std::string::npos)
      refusal = Error{Code::invalid, "an HTTP call may have no line breaks in its headers", {}, {}};
  return core_->handle(Core::What::transfer, core_->start(t, std::move(refusal)));
}

Handle CurlEnv::compute(std::function<std::function<void()>()> job) {
  return core_->handle(Core::What::job, core_->compute(std::move(job)));
}

Result<void> CurlEnv::connect(const std::string& cluster, std::string_view kubeconfig) {
  auto credentials = parse_kubeconfig(kubeconfig, {}, {}, "kubeconfig of cluster " + cluster);
  if (!credentials) return fail(credentials.error());
  return core_->connect(cluster, std::move(*credentials));
}

Result<void> CurlEnv::connect(const std::string& cluster, Credentials credentials) {
  return core_->connect(cluster, std::move(credentials));
}

void CurlEnv::disconnect(const std::string& cluster) { core_->disconnect(cluster); }

}  // namespace reconcile
