#include "actors/zmq_access.hpp"

#include <array>

#include <zmq.h>

#include "actors/endpoint.hpp"

namespace troupe {

bool is_curve_key(std::string_view text) {
  std::array<unsigned char, curve_key_characters / 5 * 4> bytes{};
  return text.size() == curve_key_characters && zmq_z85_decode(bytes.data(), std::string(text).c_str());
}

expected<void> check_access(const zmq_access& access, const std::string& endpoint, const std::string& option) {
  if (access.has_keys() || access.open || is_local(endpoint))
    return {};
  return fail(
    errc::invalid_argument,
    option + " " + endpoint +
      ": other machines could connect, and nothing says who may. Choose tcp://127.0.0.1:PORT or ipc://PATH. `troupe "
      "serve` takes others with keys (--zmq-curve-server-key and --zmq-curve-client-keys; `troupe keygen` makes "
      "them), "
      "or with --allow-open-access.");
}

} // namespace troupe
