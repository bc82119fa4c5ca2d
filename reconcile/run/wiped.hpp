// Wiped: texts with keys in them, whose memory is wiped when they go.
#pragma once
#include <openssl/crypto.h>

#include <string>
#include <vector>

namespace reconcile {

struct Wiped {
  std::vector<std::string> texts;
  Wiped() = default;
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  ~Wiped() { wipe(); }
  void wipe() {
    for (auto& text : texts) OPENSSL_cleanse(text.data(), text.size());
  }
};

}  // namespace reconcile
