// `troupe serve`: the engine behind its ZeroMQ gateway, until a signal comes.
#include <iostream>

#include <fmt/format.h>

#include "actors/endpoint.hpp"
#include "actors/gateway.hpp"
#include "tools/troupe/local_engine.hpp"
#include "troupe_version.hpp"

namespace troupe::cli {

int serve(const serve_flags& flags) {
  auto started = local_engine::start(flags.engine);
  if (!started)
    return report(started.error());
  auto& engine = **started;
  gateway_options options;
  options.endpoint = flags.zmq;
  options.server_name = std::string("troupe ") + version;
  options.model_name = engine.model().name;
  options.context_length = engine.context_length();
  options.takes_commands = flags.admin_zmq.empty() && is_local(flags.zmq);
  auto gateway = spawn_gateway(engine.system(), engine.supervisor(), options);
  if (!gateway)
    return report(gateway.error());
  engine.self()->monitor(gateway->actor);
  if (!flags.admin_zmq.empty()) {
    options.endpoint = flags.admin_zmq;
    options.takes_commands = true;
    options.option = "--admin-zmq";
    auto for_operators = spawn_gateway(engine.system(), engine.supervisor(), options);
    if (!for_operators)
      return report(for_operators.error());
    engine.self()->monitor(for_operators->actor);
    std::cerr << "troupe: an operator's commands are taken on " << for_operators->endpoint << "." << std::endl;
  }
  auto device = engine.info();
  if (!device)
    return report(device.error());
  std::cerr << fmt::format("troupe {}: {} on {} ({}), {} MB of weights. Listening on {}. Ctrl-C stops.", version,
                           engine.model().name, device->device, device->backend,
                           device->memory.weight_bytes / 1000000, gateway->endpoint)
            << std::endl;
  auto ended = engine.receive([](server_message&) { return true; }, [] { return false; });
  if (!ended)
    return report(ended.error());
  std::cerr << "troupe: stopping." << std::endl;
  return 0;
}

} // namespace troupe::cli
