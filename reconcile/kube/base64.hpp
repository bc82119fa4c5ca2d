// Base64 (RFC 4648, section 4), as Secrets and kubeconfigs hold it.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace reconcile {

std::string to_base64(std::string_view bytes);                  // in one line
std::optional<std::string> from_base64(std::string_view text);  // of one line, padded; nullopt: it isn't that, or empty
std::optional<std::string> from_base64_lines(
    std::string_view text);  // line breaks and blanks may stand in it, as in files that people made

}  // namespace reconcile
