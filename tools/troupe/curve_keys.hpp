// Keys for CURVE in files: what `troupe keygen` makes, and what servers and clients read.
//
// A file has a key a line, as Z85 (40 characters); what follows a space is a note for people.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "actors/zmq_access.hpp"

namespace troupe::cli {

inline constexpr std::size_t max_curve_clients = 4096;
inline constexpr std::size_t max_key_file_bytes = 1u << 20;

/// The only key of a file. Errors: io, invalid_argument; `option` is what they name.
expected<std::string> read_public_key(const std::filesystem::path& file, const std::string& option);

/// The same; nobody but its owner may be able to read the file.
expected<std::string> read_secret_key(const std::filesystem::path& file, const std::string& option);

/// All keys of a file, one at least.
expected<std::vector<std::string>> read_public_keys(const std::filesystem::path& file, const std::string& option);

/// The public key that belongs to a secret one. Errors: unsupported (this libzmq has no CURVE).
expected<std::string> public_key_of(const std::string& secret);

} // namespace troupe::cli
