// A client of a simulated world: it asks, cancels, grants credit and leaves when its plan says so, and checks all that
// it is told. Each request gets exactly one ending, whose reason is true; its tokens are those of the fake model, none
// twice, none missing, none without credit.
#pragma once

#include <map>

#include "actors/interfaces.hpp"
#include "tests/simulation/link.hpp"
#include "tests/simulation/plan.hpp"

namespace troupe::simulated {

/// What excuses an ending that is nobody's fault.
struct world_facts {
  bool stopping = false;      ///< The supervisor was asked to stop, or something died that nothing works without.
  bool engine_failed = false; ///< It has said that it gives up.
  bool draining = false;      ///< An operator has asked for it...
  bool drained = false;       ///< ...and was told that it is done.
};

class virtual_client {
public:
  /// `to_client` looks at every delivery on its way from the stream.
  virtual_client(simulation& world, const planned_client& plan, connection_id connection, const world_facts& facts,
                 const world_plan& about, std::function<passage(caf::message&)> to_client);

  /// Opens its connection and puts on the agenda what it is going to do.
  void begin(const supervisor_actor& supervisor);

  /// Nothing can happen any more: was every promise kept?
  void check_at_the_end();

  /// Dies, if it has not yet.
  void kill();

  /// Drops its handles.
  void release();

  std::size_t endings() const { return endings_; }
  std::size_t tokens() const { return tokens_; }
  std::size_t ids_used_again() const { return ids_used_again_; }
  std::size_t embedded() const { return embedded_; }
  std::size_t ran_out() const { return ran_out_; } ///< Requests for which no token was left.

private:
  struct record {
    const planned_request* plan = nullptr;
    std::vector<std::vector<token_id>> received; ///< For each choice.
    std::vector<std::string> text;               ///< The same.
    std::uint64_t granted = 0;
    std::size_t prompt_logprobs = 0;
    bool submitted = false, cancelled = false;
    std::uint32_t endings = 0;
    std::uint32_t uses = 0; ///< Requests that have had this id before.
  };

  friend client_actor::behavior_type client_shell(client_actor::pointer self, virtual_client* owner,
                                                  supervisor_actor supervisor);
  void opened(const stream_actor& stream);
  void expect(record& r, const planned_request& planned);
  void submit(record& r);
  void whenever(record& r, microseconds after, std::function<void()> what);
  void tell_all_open(bool pause);
  void leave();
  void take(const delivery& what);
  void take(const token_delta& delta);
  void check_logprobs(record& r, const token_delta& delta);
  void check_text(record& r, const token_delta& delta);
  void take(const request_end& end);
  void check_ending(const record& r, const request_end& end);
  void check_natural_end(const record& r, const request_end& end);
  void check_failure(const record& r, const request_end& end);
  void broken(request_id id, const std::string& what);

  simulation& world_;
  const planned_client& plan_;
  const world_facts& facts_;
  const world_plan& about_;
  connection_id connection_;
  std::function<passage(caf::message&)> to_client_;
  std::map<request_id, record> records_;
  std::vector<record*> waiting_; ///< To be submitted when the stream is there.
  client_actor shell_, shown_;   ///< Itself, and the link by which the stream knows it.
  link_control* link_ = nullptr;
  stream_actor stream_, real_stream_;
  bool left_ = false, stream_gone_ = false;
  std::size_t endings_ = 0, tokens_ = 0, ids_used_again_ = 0, ran_out_ = 0, embedded_ = 0;
};

} // namespace troupe::simulated
