#include "tests/invariance/real_engine.hpp"

#include "model/sharding.hpp"
#include "model/stages.hpp"

namespace troupe::test {

std::shared_ptr<const model> real_model() {
  static const auto loaded = [] {
    auto result = load_model(real_model_path());
    BOOST_REQUIRE_MESSAGE(result, result.error().message);
    return *result;
  }();
  return loaded;
}

const std::shared_ptr<bit_ledger>& common_ledger() {
  static const auto ledger = std::make_shared<bit_ledger>();
  return ledger;
}

namespace {

/// No worker of an engine of several begins before all requests are there.
void share(engine_options& options, const variation& how) {
  common_ledger()->passes_gate.shut();
  const auto source = real_model();
  const auto plan = plan_shards(source->program, *source->file, how.ranks);
  BOOST_REQUIRE_MESSAGE(plan, plan.error().message);
  options.stages = how.stages;
  options.rank_shards.assign(how.ranks, 1);
  options.make_rank = [how, source, plan = *plan, most = options.plan.max_logit_rows](
                        const worker_seat& seat, std::shared_ptr<communicator> group) {
    common_ledger()->passes_gate.pass();
    auto part = how.ranks > 1 ? program_of_rank(source->program, plan, seat.rank) : source->program;
    const auto layers = part.layers;
    if (how.stages > 1)
      part = program_of_stage(part, {layers * seat.stage / how.stages, layers * (seat.stage + 1) / how.stages});
    backend_options device{.kv_blocks = how.kv_blocks, .max_rows = how.rows, .max_logit_rows = most, .threads = 1};
    device.group = std::move(group);
    return make_cpu_backend(source->file, part, device);
  };
}

void set_up(engine_options& options, const variation& how) {
  options.source = real_model();
  options.kv_blocks = how.kv_blocks;
  options.cache.prefix_caching = how.prefix_caching;
  options.max_steps_in_flight = how.steps_ahead;
  auto& plan = options.plan;
  plan.max_batched_tokens = how.rows;
  plan.max_sequences = how.sequences;
  plan.max_logit_rows = std::max(how.rows, how.sequences);
  plan.steps_ahead = how.steps_ahead;
  if (how.ranks * how.stages > 1)
    return share(options, how);
  options.make_backend = [how, most = plan.max_logit_rows]() -> expected<std::unique_ptr<backend>> {
    const auto& source = *real_model();
    auto made = make_cpu_backend(
      source.file, source.program,
      {.kv_blocks = how.kv_blocks, .max_rows = how.rows, .max_logit_rows = most, .threads = how.threads});
    if (!made)
      return tl::unexpected(made.error());
    return std::make_unique<watched_backend>(std::move(*made), common_ledger(), source.program.vocabulary,
                                             how.kv_blocks);
  };
}

/// For all of its choices, in the order of the first one's tokens.
std::string difference_of(const answer& wanted, const answer& got) {
  if (got.ends.size() != 1 || wanted.ends.size() != 1)
    return "its endings";
  const auto &a = wanted.ends[0], &b = got.ends[0];
  if (a.reason != b.reason || a.choices != b.choices || a.failure != b.failure)
    return "how it ended: " + b.failure.message;
  if (a.usage.prompt_tokens != b.usage.prompt_tokens || a.usage.completion_tokens != b.usage.completion_tokens)
    return "its usage";
  if (wanted.tokens != got.tokens || wanted.others != got.others)
    return "its tokens";
  if (wanted.text != got.text)
    return "its text";
  if (wanted.logprobs != got.logprobs)
    return "its logprobs";
  return wanted.prompt_logprobs != got.prompt_logprobs ? "the logprobs of its prompt" : "";
}

} // namespace

real_engine::real_engine(const variation& how) : engine_([&](engine_options& options) { set_up(options, how); }) {
  engine_.patience = 60s;
  engine_.has_moved = [passes = std::uint64_t{0},
                       this]() mutable { // A busy machine is slow, but does not stand still.
    const auto now = seen().passes;
    return std::exchange(passes, now) != now;
  };
  common_ledger()->begin(how.name);
}

real_engine::~real_engine() {
  for (const auto& violation : common_ledger()->violations())
    BOOST_ERROR(violation);
}

answer_list real_engine::together(const std::vector<generate_request>& requests, std::size_t connections) {
  std::vector<std::unique_ptr<client>> clients;
  for (std::size_t i = 0; i < connections; ++i)
    clients.push_back(std::make_unique<client>(engine_));
  common_ledger()->passes_gate.shut();
  std::uint32_t sequences = 0;
  for (const auto& request : requests) {
    sequences += generated_for(request);
    clients[request.id % connections]->submit(request);
  }
  engine_.eventually("all sequences are known to the scheduler", [&] {
    const auto counts = engine_.counts();
    return counts.running + counts.waiting == sequences;
  });
  common_ledger()->passes_gate.open();
  answer_list answers;
  for (const auto& request : requests)
    answers.push_back(clients[request.id % connections]->wait(request.id));
  return answers;
}

answer_list real_engine::one_by_one(const std::vector<generate_request>& requests) {
  common_ledger()->passes_gate.open();
  client only(engine_);
  answer_list answers;
  for (const auto& request : requests) {
    only.submit(request);
    answers.push_back(only.wait(request.id));
  }
  return answers;
}

void check_same(const std::vector<generate_request>& requests, const answer_list& wanted, const answer_list& got) {
  BOOST_REQUIRE(wanted.size() == requests.size());
  BOOST_REQUIRE(got.size() == requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto difference = difference_of(wanted[i], got[i]);
    BOOST_TEST(difference.empty(), "request " << requests[i].id << " differs in " << difference);
  }
}

} // namespace troupe::test
