#include "sidecar/http/status_page.h"

#include <cstdint>
#include <cstdio>
#include <random>

namespace syncflow::http {

extern const std::string_view kStatusPageHtml;

namespace {

constexpr std::string_view kNonce = "@nonce@";

std::string NewNonce() {
  std::random_device random;
  std::string nonce;
  for (int i = 0; i < 4; ++i) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(random()));
    nonce += digits;
  }
  return nonce;
}

}  // namespace

Response StatusPage() {
  std::string nonce = NewNonce();
  std::string page(kStatusPageHtml);
  for (size_t at; (at = page.find(kNonce)) != page.npos;) page.replace(at, kNonce.size(), nonce);
  std::string policy = "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" +
                       nonce +
                       "'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors 'none'";
  return {200,
          "text/html; charset=utf-8",
          std::move(page),
          {"Content-Security-Policy: " + policy, "Referrer-Policy: no-referrer"}};
}

}  // namespace syncflow::http
