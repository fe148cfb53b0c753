#include "config/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace syncflow::config {
namespace {

bool IsPort(const std::string& text) {
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, port);
  return error == std::errc() && stop == end;
}

std::string HostOf(const std::string& address) {
  return address.substr(0, address.rfind(':'));
}

// What stands in the brackets of an IPv6 address, without its zone; empty for anything else.
std::string BracketedOf(const std::string& host) {
  if (!host.starts_with('[') || !host.ends_with(']')) return "";
  return host.substr(1, std::min(host.find('%'), host.size() - 1) - 1);
}

bool Reads(int family, const std::string& text) {
  in6_addr address{};
  return inet_pton(family, text.c_str(), &address) == 1;
}

}  // namespace

bool IsAddress(const std::string& text) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos || !IsPort(text.substr(colon + 1))) return false;
  std::string host = HostOf(text);
  return host == "localhost" || Reads(AF_INET, host) || Reads(AF_INET6, BracketedOf(host));
}

bool IsLoopback(const std::string& address) {
  std::string host = HostOf(address);
  in6_addr six{};
  if (inet_pton(AF_INET6, BracketedOf(host).c_str(), &six) == 1) return IN6_IS_ADDR_LOOPBACK(&six);
  return host == "localhost" || host.starts_with("127.");
}

}  // namespace syncflow::config
