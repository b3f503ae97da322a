#include "serve/http/server.hpp"

#include <algorithm>
#include <csignal>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "serve/http/connection.hpp"
#include "serve/http/errors.hpp"
#include "serve/http/openapi.hpp"
#include "serve/http/response.hpp"

namespace troupe::serve {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr auto accept_again = std::chrono::milliseconds(100); ///< When there was no descriptor, say.

/// Threads that are made while this lives take no signals: they belong to whoever made the program.
class no_signals {
public:
  no_signals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~no_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  no_signals(const no_signals&) = delete;

private:
  sigset_t before_;
};

/// An acceptor that listens at the first of the host's addresses where that goes.
expected<tcp::acceptor> listen_at(asio::io_context& thread, const http_options& options) {
  error_code problem;
  tcp::resolver resolver(thread);
  const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, problem);
  if (problem)
    return fail(errc::io, "Cannot listen on " + options.host + ": " + problem.message() +
                            ". Choose an address of this machine with --host.");
  tcp::endpoint last;
  for (const auto& entry : found) {
    last = entry.endpoint();
    if (!last.address().is_loopback() && options.keys.empty() && !options.open_access)
      return fail(errc::invalid_argument, "Whoever can reach " + text_of(last) +
                                            " could use this server, since it has no API key: give it "
                                            "one (--api-key-file, or TROUPE_API_KEY), or say --allow-open-access.");
    tcp::acceptor acceptor(thread);
    acceptor.open(last.protocol(), problem);
    if (!problem)
      acceptor.set_option(tcp::acceptor::reuse_address(true), problem);
    if (!problem)
      acceptor.bind(last, problem);
    if (!problem)
      acceptor.listen(asio::socket_base::max_listen_connections, problem);
    if (!problem)
      return acceptor;
  }
  return fail(errc::io, "Cannot listen on " + text_of(last) + ": " + problem.message() +
                          ". Choose another port with --port (0 takes a free one), or another address with --host.");
}

/// How often to look for what has taken too long.
std::chrono::milliseconds tick_of(const http_limits& limits) {
  const auto least = std::min(
    {limits.handshake_ms, limits.header_ms, limits.body_ms, limits.idle_ms, limits.stalled_ms, limits.linger_ms});
  return std::chrono::milliseconds(std::clamp(least / 4, 10u, 1000u));
}

} // namespace

void server_core::post(std::function<void()> what) {
  asio::post(thread, std::move(what));
}

void server_core::look_whether_quiet() {
  if (answering == 0 && on_quiet)
    std::exchange(on_quiet, nullptr)();
}

class http_server::listener : public std::enable_shared_from_this<listener> {
public:
  listener(std::shared_ptr<server_core> core, tcp::acceptor acceptor, std::shared_ptr<asio::ssl::context> tls)
      : core_(std::move(core)), acceptor_(std::move(acceptor)), tls_(std::move(tls)), timer_(core_->thread),
        pause_(core_->thread), tick_(tick_of(core_->options.limits)) {}

  tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }

  void accept() {
    acceptor_.async_accept([self = shared_from_this()](const error_code& problem, tcp::socket socket) {
      if (self->stopped_)
        return;
      if (problem)
        return self->accept_later();
      self->take(std::move(socket));
      self->accept();
    });
  }

  void stop() {
    stopped_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    timer_.cancel();
    pause_.cancel();
    for (const auto& each : std::vector(core_->connections.begin(), core_->connections.end()))
      each->close();
    core_->board.stop();
    core_->calls.attach(nullptr);
    core_->on_quiet = nullptr;
  }

private:
  void accept_later() {
    pause_.expires_after(accept_again);
    pause_.async_wait([self = shared_from_this()](const error_code& cancelled) {
      if (!cancelled && !self->stopped_)
        self->accept();
    });
  }

  void take(tcp::socket socket) {
    const auto& limits = core_->options.limits;
    error_code ignored; // Of a client that has gone already; reading will say so.
    socket.set_option(tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::send_buffer_size(limits.socket_send_bytes), ignored);
    if (core_->connections.size() >= limits.max_connections)
      return refuse(std::move(socket));
    auto bytes = tls_ ? tls_transport(std::move(socket), *tls_) : plain_transport(std::move(socket));
    auto fresh = std::make_shared<connection>(core_, std::move(bytes));
    core_->connections.insert(fresh);
    fresh->start();
    if (!ticking_)
      tick();
  }

  /// As far as that can be done without waiting for anybody.
  void refuse(tcp::socket socket) const {
    if (tls_)
      return;
    const auto answer = openai_error(
      {errc::queue_full, "This server has as many connections as it takes: try again later.", 1000}, 503);
    response_head head;
    head.status = answer.status;
    head.content_type = answer.content_type;
    head.length = answer.body.size();
    head.keep_alive = false;
    head.retry_after_ms = answer.retry_after_ms;
    const auto fields = id_fields({}, request_id_of({}));
    head.fields = fields;
    const auto text = to_string(head) + answer.body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(text), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  /// Only while there are connections: idle is idle.
  void tick() {
    ticking_ = !core_->connections.empty() && !stopped_;
    if (!ticking_)
      return;
    timer_.expires_after(tick_);
    timer_.async_wait([self = shared_from_this()](const error_code& cancelled) {
      if (cancelled)
        return;
      const auto now = std::chrono::steady_clock::now();
      for (const auto& each : std::vector(self->core_->connections.begin(), self->core_->connections.end()))
        each->look_at(now);
      self->tick();
    });
  }

  std::shared_ptr<server_core> core_;
  tcp::acceptor acceptor_;
  std::shared_ptr<asio::ssl::context> tls_;
  asio::steady_timer timer_;
  asio::steady_timer pause_;
  std::chrono::milliseconds tick_;
  bool ticking_ = false;
  bool stopped_ = false;
};

expected<std::unique_ptr<http_server>> http_server::start(http_options options, const api_table& api,
                                                          const route_adder& add) {
  no_signals guard;
  std::shared_ptr<asio::ssl::context> tls;
  if (!options.tls_certificates.empty()) {
    auto made = make_tls_context(options.tls_certificates, options.tls_key);
    if (!made)
      return tl::unexpected(made.error());
    tls = std::move(*made);
  }
  auto core = std::make_shared<server_core>(std::move(options));
  core->facts.version = core->options.version;
  add_probes(core->routes, core->facts, core->board, core->options.limits);
  for (const auto& [path, entry] : api)
    core->routes.post(path, entry.read, entry.about);
  if (add)
    add(core->routes, core->board);
  add_openapi(*core);
  auto acceptor = listen_at(core->thread, core->options);
  if (!acceptor)
    return tl::unexpected(acceptor.error());
  std::unique_ptr<http_server> server(new http_server);
  server->core_ = core;
  server->listener_ = std::make_shared<listener>(core, std::move(*acceptor), tls);
  const auto endpoint = server->listener_->endpoint();
  server->port_ = endpoint.port();
  server->url_ = (tls ? "https://" : "http://") + text_of(endpoint);
  server->listener_->accept();
  server->thread_ =
    std::thread([core] { core->thread.run(); }); // Ends when the listener and all connections are closed.
  return server;
}

http_server::~http_server() {
  if (!thread_.joinable())
    return;
  core_->post([listener = listener_] { listener->stop(); });
  thread_.join();
  core_->readers.join();
}

engine_door http_server::door() const {
  return [weak = std::weak_ptr(core_)](std::function<void(engine_listener&)> what) {
    if (auto core = weak.lock()) // What is posted belongs to the core, so it may know it as it is.
      core->post([core = core.get(), what = std::move(what)] { what(core->calls); });
  };
}

void http_server::attach(std::shared_ptr<engine_link> engine, api_context model) {
  core_->post([core = core_.get(), engine = std::move(engine), model = std::move(model)] {
    core->calls.attach(engine);
    core->board.attach(engine);
    core->facts.model = model;
    core->facts.phase = server_phase::ready;
  });
}

void http_server::drain(std::function<void()> quiet) {
  core_->post([core = core_.get(), quiet = std::move(quiet)] {
    core->facts.phase = server_phase::draining;
    core->on_quiet = quiet;
    core->look_whether_quiet();
  });
}

} // namespace troupe::serve
