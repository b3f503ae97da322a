// `troupe serve`: the engine behind its ZeroMQ gateway, until a signal comes.
#include <iostream>

#include <fmt/format.h>

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
  options.context_length = engine.model().program.context_length;
  auto gateway = spawn_gateway(engine.system(), engine.supervisor(), options);
  if (!gateway)
    return report(gateway.error());
  engine.self()->monitor(gateway->actor);
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
