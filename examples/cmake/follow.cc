// The feed as a library: prints every change, comes back after every break, and goes on where it was
// when it is started again, because the feed keeps the place of a name.
//   ./follow 127.0.0.1:7433 billing
#include <sidecar/client/subscription.h>

#include <iostream>

using namespace syncflow::client;

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("usage: follow HOST:PORT NAME");
  Options options;
  options.address = argv[1];
  options.name = argv[2];
  Subscription feed(options);
  while (auto event = feed.Next()) {
    if (event->type == Event::Type::kChange) std::cout << event->line << std::endl;
    if (!std::cout) return 1;  // what is not printed is not acknowledged
    if (event->type == Event::Type::kDisconnected) std::cerr << event->message << "\n";
    feed.Acknowledge(event->cursor);
  }
} catch (const Refused& refused) {
  std::cerr << refused.code << ": " << refused.what() << "\n";
  return 1;
} catch (const std::invalid_argument& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
