// A publisher of block events for tests that are not written in C++.
//
//   publish_kv_events ENDPOINT REPLAY_ENDPOINT [maps|arrays] [integers|bytes]
//
// Prints both endpoints in one line, then publishes what its lines on stdin say, until they end:
//   stored NUMBER HASH PARENT TOKEN...    (PARENT may be -; for each 16 tokens there is a hash: HASH, HASH + 1, ...)
//   removed NUMBER HASH...
//   cleared NUMBER
#include <iostream>
#include <sstream>

#include "actors/kv_events.hpp"
#include "actors/system.hpp"

using namespace troupe;

namespace {

block_hash hash_of_word(std::uint64_t word) {
  return {{word, ~word, 0, 0}};
}

kv_event read_event(const std::string& kind, std::istringstream& line) {
  kv_event event;
  if (kind == "stored") {
    std::uint64_t hash;
    std::string parent;
    line >> hash >> parent;
    if (parent != "-")
      event.parent = hash_of_word(std::stoull(parent));
    for (token_id token; line >> token;)
      event.tokens.push_back(token);
    for (std::size_t i = 0; i < event.tokens.size() / tokens_per_block; ++i)
      event.hashes.push_back(hash_of_word(hash + i));
  } else if (kind == "removed") {
    event.kind = kv_event::kind_type::block_removed;
    for (std::uint64_t hash; line >> hash;)
      event.hashes.push_back(hash_of_word(hash));
  } else {
    event.kind = kv_event::kind_type::all_cleared;
  }
  return event;
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3)
    return 2;
  kv_events_options options;
  options.endpoint = argv[1];
  options.replay_endpoint = argv[2];
  options.topic = "kv-events";
  const std::vector<std::string> words(argv + 3, argv + argc);
  for (const auto& word : words)
    if (word == "arrays")
      options.format.encoding = kv_event_format::encoding_type::arrays;
    else if (word == "bytes")
      options.format.hashes_as_bytes = true;
  caf::actor_system_config config;
  configure(config);
  caf::actor_system system(config);
  auto running = spawn_kv_events(system, options);
  if (!running) {
    std::cerr << running.error().message << std::endl;
    return 1;
  }
  std::cout << running->endpoint << ' ' << running->replay_endpoint << std::endl;
  for (std::string text; std::getline(std::cin, text);) {
    std::istringstream line(text);
    std::string kind;
    std::uint64_t number = 0;
    line >> kind >> number;
    caf::anon_send(running->actor, publish_atom::value, kv_event_batch{number, {read_event(kind, line)}});
  }
  caf::anon_send_exit(running->actor, caf::exit_reason::user_shutdown);
  running->actor = nullptr;
  system.await_all_actors_done();
}
