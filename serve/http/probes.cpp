#include "serve/http/probes.hpp"

#include <algorithm>
#include <chrono>
#include <list>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "serve/api/answer_kinds.hpp"
#include "serve/api/api.hpp"
#include "serve/http/errors.hpp"
#include "serve/http/status_json.hpp"

namespace troupe::serve {

namespace {

using json = nlohmann::ordered_json;
namespace asio = boost::asio;
using clock_type = std::chrono::steady_clock;

http_answer json_answer(const json& body) {
  http_answer answer;
  answer.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return answer;
}

http_answer not_now(const error& why) {
  auto answer = openai_error(why, 503);
  answer.retry_after_ms = 1000;
  return answer;
}

/// The counts of `troupe status`, and what others call two of them.
json load_of(const server_status& status) {
  auto load = status_json(status);
  const auto used =
    status.kv_blocks - std::min(status.kv_blocks, status.kv_free + status.kv_cached + status.kv_leased);
  load["kv_usage"] = status.kv_blocks == 0 ? 0.0 : double(used) / status.kv_blocks;
  load["server_load"] = status.open_requests;
  return load;
}

/// "%2F" is "/".
std::string decoded(std::string_view path) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
  };
  std::string text;
  for (std::size_t i = 0; i < path.size(); ++i)
    if (path[i] == '%' && i + 2 < path.size() && digit(path[i + 1]) >= 0 && digit(path[i + 2]) >= 0) {
      text += static_cast<char>(digit(path[i + 1]) * 16 + digit(path[i + 2]));
      i += 2;
    } else {
      text += path[i];
    }
  return text;
}

std::optional<error> why_unhealthy(const engine_report& report, const http_limits& limits) {
  if (report.sick)
    return report.sick;
  if (report.status.engines == 0)
    return error{errc::unavailable, "No engine is up."};
  if (report.step_ms > limits.stuck_step_ms)
    return error{errc::unavailable,
                 fmt::format("A step of the engine has taken {:.0f} s so far.", report.step_ms / 1000)};
  return std::nullopt;
}

/// A route that asks the engine first.
answer_later ask_board(status_board& board, std::function<http_answer(const engine_report&)> answer) {
  return [&board, answer = std::move(answer)](const http_request&, std::function<void(http_answer)> done) {
    board.ask([answer, done = std::move(done)](expected<engine_report> report) {
      done(report ? answer(*report) : not_now(report.error()));
    });
  };
}

/// The same where requests are taken; otherwise it says at once why not.
answer_later when_ready(const server_facts& facts, answer_later ask) {
  return [&facts, ask = std::move(ask)](const http_request& request, std::function<void(http_answer)> done) {
    if (const auto why = refusal_in(facts.phase))
      return done(not_now(*why));
    ask(request, std::move(done));
  };
}

operation about(std::string_view summary, field_kind answer) {
  operation result;
  result.summary = summary;
  result.answer = answer;
  return result;
}

operation asks(std::string_view summary, field_kind answer) {
  auto result = about(summary, answer);
  result.asks_engine = true;
  return result;
}

/// With one of everything that there can be several of.
server_status sample_of_status() {
  server_status status;
  status.tiers.emplace_back();
  return status;
}

} // namespace

struct status_board::state : std::enable_shared_from_this<state> {
  struct waiting {
    waiting(const asio::any_io_executor& thread, bool with_actors, report_taker take)
        : timer(thread), with_actors(with_actors), take(std::move(take)) {}
    asio::steady_timer timer;
    bool with_actors;
    report_taker take;
  };

  asio::any_io_executor thread;
  std::chrono::milliseconds patience;
  std::shared_ptr<engine_link> engine;
  std::list<std::shared_ptr<waiting>> all;
  clock_type::time_point asked;
  std::uint64_t question = 0;
  bool in_flight = false;
  bool actors_in_flight = false; ///< The question in flight is about them, too.

  void answer(const expected<engine_report>& report) {
    for (auto& each : std::exchange(all, {})) {
      each->timer.cancel();
      each->take(report);
    }
  }

  void ask() {
    const bool with_actors = std::any_of(all.begin(), all.end(), [](const auto& each) { return each->with_actors; });
    if (in_flight && (actors_in_flight || !with_actors) && clock_type::now() - asked < patience)
      return;
    in_flight = true;
    actors_in_flight = with_actors;
    asked = clock_type::now();
    engine->ask_report(with_actors, [self = shared_from_this(), number = ++question](expected<engine_report> report) {
      if (number != self->question)
        return; // Another has been asked since.
      self->in_flight = false;
      self->answer(report);
    });
  }
};

status_board::status_board(asio::any_io_executor thread, const http_limits& limits)
    : state_(std::make_shared<state>()) {
  state_->thread = std::move(thread);
  state_->patience = std::chrono::milliseconds(limits.status_ms);
}

status_board::~status_board() {
  stop();
}

void status_board::attach(std::shared_ptr<engine_link> engine) {
  state_->engine = std::move(engine);
}

void status_board::stop() {
  for (auto& each : std::exchange(state_->all, {}))
    each->timer.cancel();
  state_->engine = nullptr;
  ++state_->question;
}

void status_board::ask(report_taker take, bool with_actors) {
  if (!state_->engine)
    return asio::post(state_->thread, [take = std::move(take)] {
      take(fail(errc::unavailable, "There is no engine yet: the model is being loaded."));
    });
  auto fresh = std::make_shared<state::waiting>(state_->thread, with_actors, std::move(take));
  state_->all.push_back(fresh);
  fresh->timer.expires_after(state_->patience);
  fresh->timer.async_wait([self = state_, fresh](const boost::system::error_code& cancelled) {
    if (cancelled || self->all.remove(fresh) == 0) // It was answered when this was under way already.
      return;
    fresh->take(fail(errc::unavailable, "The engine does not answer."));
  });
  state_->ask();
}

std::optional<error> refusal_in(server_phase phase) {
  switch (phase) {
  case server_phase::loading:
    return error{errc::unavailable, "The model is being loaded: try again soon.", 1000};
  case server_phase::draining:
    return error{errc::unavailable, "The server is stopping: try another one, or later.", 1000};
  case server_phase::ready:
    break;
  }
  return std::nullopt;
}

void add_probes(route_table& routes, const server_facts& facts, status_board& board, const http_limits& limits) {
  routes.get("/live", false, about("The process lives", [] { return kind::said("status", "live"); }),
             [](const http_request&) {
               return json_answer({{"status", "live"}});
             });
  const auto ready = [](const engine_report& report) {
    if (report.status.draining)
      return not_now({errc::unavailable, "The engine is draining."});
    if (report.status.engines == 0)
      return not_now({errc::unavailable, "No engine is up."});
    return json_answer({{"status", "ready"}});
  };
  routes.get_later("/ready", false, asks("Requests are taken", [] { return kind::said("status", "ready"); }),
                   when_ready(facts, ask_board(board, ready)));
  const auto healthy = [&limits](const engine_report& report) {
    const auto sick = why_unhealthy(report, limits);
    return sick ? not_now(*sick) : json_answer({{"status", "healthy"}});
  };
  routes.get_later("/health", false,
                   asks("Every part of the engine answers", [] { return kind::said("status", "healthy"); }),
                   ask_board(board, healthy));
  routes.get("/version", true,
             about("The server's version",
                   [] {
                     return kind::object_of({{"version", kind::text()}});
                   }),
             [&facts](const http_request&) {
               return json_answer({{"version", facts.version}});
             });
  routes.get_later("/load", true,
                   asks("How much there is to do", [] { return kind::like(load_of(sample_of_status())); }),
                   ask_board(board, [](const engine_report& report) { return json_answer(load_of(report.status)); }));
  auto of_model = asks("The model by a name", kind::model_answer);
  of_model.needs_model = true;
  routes.get("/v1/models", true, asks("The model, by each of its names", kind::models_answer),
             [&facts](const http_request&) {
               if (!facts.model)
                 return not_now(*refusal_in(server_phase::loading));
               return models(*facts.model);
             });
  routes.get("/v1/models/{model}", true, of_model, [&facts](const http_request& request) {
    if (!facts.model)
      return not_now(*refusal_in(server_phase::loading));
    return model_named(*facts.model, decoded(request.path.substr(sizeof "/v1/models/" - 1)));
  });
}

} // namespace troupe::serve
