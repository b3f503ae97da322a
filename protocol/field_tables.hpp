// Values to msgpack by tables: each `fields_of` is the table of one message's fields. It is gone through once to count
// those that are sent, which a msgpack map says first, and once to write them. A field with its default is left out
// where docs/protocol.md gives a default.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "protocol/messages.hpp"
#include "protocol/wire_writer.hpp"

namespace troupe::detail {

/// Tables call it with a field's name, its value, and whether it is sent.
struct field_counter {
  std::size_t count = 0;

  template <std::size_t N, class T>
  void operator()(const char (&)[N], const T&, bool sent = true) {
    count += sent;
  }
};

struct field_writer {
  wire_writer& out;

  template <std::size_t N, class T>
  void operator()(const char (&name)[N], const T& value, bool sent = true);
};

template <class Message>
void write_fields(wire_writer& out, const Message& message) {
  field_writer writer{out};
  fields_of(message, writer);
}

/// A message within another: its fields alone.
template <class Message>
void write_map(wire_writer& out, const Message& message) {
  field_counter counter;
  fields_of(message, counter);
  out.map(counter.count);
  write_fields(out, message);
}

/// The same with its type, as the messages of frames have it.
template <class Message>
void write_frame(wire_writer& out, const Message& message) {
  field_counter counter;
  fields_of(message, counter);
  out.map(counter.count + 1);
  out.name("type");
  out.name(Message::type);
  write_fields(out, message);
}

// Values.

template <class T>
void write(wire_writer& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    out.boolean(value);
  else if constexpr (std::is_floating_point_v<T>)
    out.number(value);
  else if constexpr (std::is_integral_v<T>)
    out.integer(static_cast<std::int64_t>(value));
  else if constexpr (std::is_convertible_v<const T&, std::string_view>)
    out.text(value);
  else
    write_map(out, value);
}

inline void write(wire_writer& out, std::uint64_t value) {
  out.whole(value);
}

template <class T>
void write(wire_writer& out, const std::vector<T>& values) {
  out.array(values.size());
  for (const T& each : values)
    write(out, each);
}

template <std::size_t N, class T>
void field_writer::operator()(const char (&name)[N], const T& value, bool sent) {
  if (!sent)
    return;
  out.name(name);
  write(out, value);
}

template <class Message>
std::string encode_any(const Message& message) {
  std::string bytes;
  wire_writer out(bytes);
  std::visit([&](const auto& each) { write_frame(out, each); }, message);
  bytes.resize(out.size());
  return bytes;
}

} // namespace troupe::detail
