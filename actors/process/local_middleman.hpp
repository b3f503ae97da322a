// CAF's connections between processes of one machine and one user, over Unix sockets without a name in a file system:
// no port that others could connect to, nothing that a death leaves behind. Who is of another user is turned away.
#pragma once

#include <cstdint>
#include <string>

#include <caf/all.hpp>
#include <caf/io/middleman_actor.hpp>

namespace troupe {

/// Loads what `spawn_local_middleman` needs.
void configure_processes(caf::actor_system_config& config);

/// CAF's middleman, but that a host is the name of a socket: `publish` listens on the one that its address names, and
/// a port only tells several that this process publishes from each other. It lives until it is told to end.
caf::io::middleman_actor spawn_local_middleman(caf::actor_system& system);

/// A name that nobody else has. Errors: none; 128 bits of it are random.
std::string new_socket_name();

/// 128 random bits in hexadecimal digits.
std::string new_token();

} // namespace troupe
