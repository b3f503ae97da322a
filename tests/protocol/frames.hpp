// Frames for tests, built by msgpack-cxx directly and not by the codec that they test.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <msgpack.hpp>

namespace troupe::test {

/// The msgpack bytes of one value.
template <class T>
std::string packed(const T& value) {
  msgpack::sbuffer buffer;
  msgpack::pack(buffer, value);
  return {buffer.data(), buffer.size()};
}

inline const std::string nil_bytes{"\xc0", 1};

using raw_fields = std::vector<std::pair<std::string, std::string>>; ///< Names, and values as bytes.

inline std::string map_of(const raw_fields& fields) {
  msgpack::sbuffer buffer;
  msgpack::packer<msgpack::sbuffer> out(buffer);
  out.pack_map(static_cast<std::uint32_t>(fields.size()));
  std::string bytes(buffer.data(), buffer.size());
  for (const auto& [name, value] : fields)
    bytes += packed(name) + value;
  return bytes;
}

inline std::string array_of(const std::vector<std::string>& values) {
  msgpack::sbuffer buffer;
  msgpack::packer<msgpack::sbuffer> out(buffer);
  out.pack_array(static_cast<std::uint32_t>(values.size()));
  std::string bytes(buffer.data(), buffer.size());
  for (const std::string& value : values)
    bytes += value;
  return bytes;
}

/// A generate_request with id 7 and `fields`, which bring the prompt.
inline std::string generate_of(raw_fields fields) {
  fields.insert(fields.begin(), {{"type", packed("generate_request")}, {"id", packed(7)}});
  return map_of(fields);
}

/// The same with the prompt "hi".
inline std::string generate_with(std::string name, std::string value) {
  return generate_of({{"prompt", packed("hi")}, {std::move(name), std::move(value)}});
}

} // namespace troupe::test
