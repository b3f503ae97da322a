// A connection's bytes, with TLS or without.
//
// Owner: one connection, in the thread of the sockets. At most one read, one write and one handshake are under way at
// once; what they were given must live until their handler was called, which it always is, after `close` with an error.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "protocol/error.hpp"

namespace boost::asio::ssl {
class context;
}

namespace troupe::serve {

/// "127.0.0.1:8000", "[::1]:8000".
std::string text_of(const boost::asio::ip::tcp::endpoint& endpoint);

class transport {
public:
  using handler = std::function<void(const boost::system::error_code&, std::size_t)>;

  virtual ~transport() = default;
  virtual void handshake(std::function<void(const boost::system::error_code&)> done) = 0;
  virtual void read_some(boost::asio::mutable_buffer into, handler done) = 0;
  virtual void write_some(boost::asio::const_buffer from, handler done) = 0;
  /// Says that nothing more comes; reading goes on.
  virtual void end_writing() = 0;
  virtual void close() = 0;
  /// "127.0.0.1:50000"; empty once the other side has gone.
  virtual std::string peer() const = 0;
};

std::unique_ptr<transport> plain_transport(boost::asio::ip::tcp::socket socket);
std::unique_ptr<transport> tls_transport(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& context);

/// TLS 1.2 and later, with this chain of certificates and this key (PEM). Errors: invalid_argument, with the file and what
/// OpenSSL says of it.
expected<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const std::string& certificates,
                                                                      const std::string& key);

} // namespace troupe::serve
