// What the account stores packed: numbers as bytes, bytes as base64 (RFC 4648, padded). Pure: reconcile/kube/base64.hpp is OpenSSL's.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace endstate::guard {

std::string base64(std::string_view bytes);
std::optional<std::string> unbase64(std::string_view text);

// Numbers of seven bits a byte, the lowest first (LEB128).
void put_number(std::string& out, std::uint64_t number);
std::optional<std::uint64_t> take_number(std::string_view& bytes);  // nullopt: there is none

// Eight bytes each, ascending.
std::string pack_ids(const std::vector<std::uint64_t>& sorted);
std::vector<std::uint64_t> unpack_ids(std::string_view text);  // none of what isn't that: an account that was edited is found by its digest

}  // namespace endstate::guard
