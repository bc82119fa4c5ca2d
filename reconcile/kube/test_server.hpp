// For tests only: a certificate authority in memory, and a TLS server on loopback that does what a script says, byte by byte. What a real
// HTTP server would never send (a reply that breaks off, a chunk that is none) is the point of it.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace reconcile::test {

using X509Ptr = std::shared_ptr<X509>;
using KeyPtr = std::shared_ptr<EVP_PKEY>;

inline std::string pem_of(const std::function<int(BIO*)>& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  if (write(bio.get()) != 1) throw std::runtime_error("PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

struct Identity {
  X509Ptr certificate;
  KeyPtr key;
  std::string certificate_pem() const {
    return pem_of([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); });
  }
  std::string key_pem() const {
    return pem_of([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }
};

// `names`: subjectAltName, e.g. "IP:127.0.0.1,DNS:kubernetes"; a CA has none and signs itself.
inline Identity issue(const std::string& common_name, const std::string& names, const Identity* ca) {
  Identity out{X509Ptr(X509_new(), X509_free), KeyPtr(EVP_EC_gen("P-256"), EVP_PKEY_free)};
  X509* const x = out.certificate.get();
  static std::atomic<long> serial{1};
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_set_pubkey(x, out.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(common_name.c_str()), -1,
                             -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(ca != nullptr ? ca->certificate.get() : x));
  const auto extend = [&](int nid, const std::string& value) {
    const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> e(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str()),
                                                                            X509_EXTENSION_free);
    if (!e || X509_add_ext(x, e.get(), -1) != 1) throw std::runtime_error("extension " + value);
  };
  if (ca == nullptr) extend(NID_basic_constraints, "critical,CA:TRUE");
  if (!names.empty()) extend(NID_subject_alt_name, names);
  if (X509_sign(x, ca != nullptr ? ca->key.get() : out.key.get(), EVP_sha256()) == 0) throw std::runtime_error("sign");
  return out;
}

struct Pki {
  Identity ca = issue("test CA", "", nullptr);
  Identity server = issue("server", "IP:127.0.0.1,DNS:kubernetes", &ca);
  Identity client = issue("client", "", &ca);
};

// A listening socket on a free port of 127.0.0.1 and a thread for each peer; all end with it.
class LoopbackServer {
 public:
  explicit LoopbackServer(std::function<void(int socket)> serve) : serve_(std::move(serve)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_, 64) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("listen");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;
  ~LoopbackServer() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
    drop_all();
    for (auto& thread : peers_) thread.join();
  }
  int port() const { return port_; }
  int accepted() const { return accepted_; }
  // Cuts every connection that is open.
  void drop_all() {
    const std::lock_guard lock(mutex_);
    for (const int s : open_) shutdown(s, SHUT_RDWR);
  }

 private:
  void accept_all() {
    for (;;) {
      const int peer = accept(listener_, nullptr, nullptr);
      if (stopping_ || peer < 0) {
        if (peer >= 0) close(peer);
        return;
      }
      ++accepted_;
      const std::lock_guard lock(mutex_);
      open_.insert(peer);
      peers_.emplace_back([this, peer] {
        serve_(peer);
        const std::lock_guard inner(mutex_);
        open_.erase(peer);
        close(peer);
      });
    }
  }
  std::function<void(int)> serve_;
  int listener_, port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> accepted_{0};
  std::mutex mutex_;
  std::set<int> open_;
  std::vector<std::thread> peers_;
  std::thread acceptor_;
};

// One TLS connection of a ScriptedServer.
class Peer {
 public:
  explicit Peer(SSL* ssl) : ssl_(ssl) {}
  // The next request: its head and body; empty when the client has closed.
  std::string request() {
    std::string text;
    for (;;) {
      const auto head = text.find("\r\n\r\n");
      if (head != std::string::npos) {
        const auto at = text.find("Content-Length: ");
        const std::size_t body = at < head ? std::stoul(text.substr(at + 16)) : 0;
        if (text.size() >= head + 4 + body) return text;
      }
      char buffer[4096];
      const int n = SSL_read(ssl_, buffer, sizeof buffer);
      if (n <= 0) return {};
      text.append(buffer, static_cast<std::size_t>(n));
    }
  }
  bool write(std::string_view text) { return text.empty() || SSL_write(ssl_, text.data(), static_cast<int>(text.size())) > 0; }
  bool reply(int status, std::string_view body, const std::string& headers = "") {
    return write("HTTP/1.1 " + std::to_string(status) + " X\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                 std::string(body));
  }
  // A watch's head, then events by chunk().
  bool stream() { return write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); }
  bool chunk(std::string_view text) {
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", text.size());
    return write(size + std::string(text) + "\r\n");
  }

 private:
  SSL* ssl_;
};

class ScriptedServer {
 public:
  // `script` serves one connection and may be called from several threads at once.
  ScriptedServer(const Pki& pki, std::function<void(Peer&)> script, bool client_certificates = false)
      : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free), script_(std::move(script)), server_([this](int s) { serve(s); }) {
    const std::lock_guard lock(ready_);
    SSL_CTX_use_certificate(context_.get(), pki.server.certificate.get());
    SSL_CTX_use_PrivateKey(context_.get(), pki.server.key.get());
    if (!client_certificates) return;
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), pki.ca.certificate.get());
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  std::string url() const { return "https://127.0.0.1:" + std::to_string(server_.port()); }
  int port() const { return server_.port(); }
  int accepted() const { return server_.accepted(); }
  void drop_all() { server_.drop_all(); }

 private:
  void serve(int socket) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(ssl_for(socket), SSL_free);
    if (SSL_accept(ssl.get()) != 1) return;
    Peer peer(ssl.get());
    script_(peer);
  }
  SSL* ssl_for(int socket) {
    const std::lock_guard lock(ready_);
    SSL* ssl = SSL_new(context_.get());
    SSL_set_fd(ssl, socket);
    return ssl;
  }
  std::mutex ready_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::function<void(Peer&)> script_;
  LoopbackServer server_;
};

}  // namespace reconcile::test
