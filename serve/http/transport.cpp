#include "serve/http/transport.hpp"

#include <boost/asio/ssl.hpp>

namespace troupe::serve {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

std::string peer_of(const tcp::socket& socket) {
  error_code gone;
  const auto endpoint = socket.remote_endpoint(gone);
  return gone ? std::string() : text_of(endpoint);
}

class plain : public transport {
public:
  explicit plain(tcp::socket socket) : socket_(std::move(socket)) {}
  void handshake(std::function<void(const error_code&)> done) override { done({}); }
  void read_some(asio::mutable_buffer into, handler done) override { socket_.async_read_some(into, std::move(done)); }
  void write_some(asio::const_buffer from, handler done) override { socket_.async_write_some(from, std::move(done)); }
  void end_writing() override {
    error_code ignored; // It may be closed by the other side.
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
  }
  void close() override {
    error_code ignored;
    socket_.close(ignored);
  }
  std::string peer() const override { return peer_of(socket_); }

private:
  tcp::socket socket_;
};

class tls : public transport {
public:
  tls(tcp::socket socket, asio::ssl::context& context)
      : stream_(std::make_shared<asio::ssl::stream<tcp::socket>>(std::move(socket), context)) {}
  void handshake(std::function<void(const error_code&)> done) override {
    stream_->async_handshake(asio::ssl::stream_base::server, std::move(done));
  }
  void read_some(asio::mutable_buffer into, handler done) override {
    stream_->async_read_some(into, std::move(done));
  }
  void write_some(asio::const_buffer from, handler done) override {
    stream_->async_write_some(from, std::move(done));
  }
  void end_writing() override {
    stream_->async_shutdown([stream = stream_](const error_code&) {}); // Whoever lingers closes it.
  }
  void close() override {
    error_code ignored;
    stream_->lowest_layer().close(ignored);
  }
  std::string peer() const override { return peer_of(stream_->next_layer()); }

private:
  std::shared_ptr<asio::ssl::stream<tcp::socket>> stream_; ///< Shared with the end of writing.
};

} // namespace

std::string text_of(const tcp::endpoint& endpoint) {
  const auto address = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(endpoint.port());
}

std::unique_ptr<transport> plain_transport(tcp::socket socket) {
  return std::make_unique<plain>(std::move(socket));
}

std::unique_ptr<transport> tls_transport(tcp::socket socket, asio::ssl::context& context) {
  return std::make_unique<tls>(std::move(socket), context);
}

expected<std::shared_ptr<asio::ssl::context>> make_tls_context(const std::string& certificates,
                                                               const std::string& key) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  error_code problem;
  const auto refused = [&](const std::string& option, const std::string& file) {
    return fail(errc::invalid_argument, "Cannot use " + file + " (" + option + "): " + problem.message() +
                                          ". It must be a file in PEM that can be read.");
  };
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                         asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                         asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression,
                       problem);
  if (!problem)
    context->use_certificate_chain_file(certificates, problem);
  if (problem)
    return refused("--tls-cert", certificates);
  context->use_private_key_file(key, asio::ssl::context::pem, problem);
  if (problem)
    return refused("--tls-key", key);
  return context;
}

} // namespace troupe::serve
