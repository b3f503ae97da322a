// Steps that are sampled on the device, beside the same steps whose logits the host samples.
#include <boost/test/unit_test.hpp>

#include "gpu/backend/gpu_backend.hpp"
#include "gpu/backends.hpp"
#include "gpu/kernels/tables.hpp"
#include "gpu/shim/runtime.hpp"
#include "tests/gpu/worker_steps.hpp"
#include "tests/model/sampling/random_rows.hpp"
#include "tests/support/tiny_model.hpp"

using namespace troupe;
using namespace troupe::gpu::test;
using troupe::gpu::device_sampling;
using troupe::gpu::sampling_kind;
using troupe::tests::random_rows;

namespace {

/// The backend on a device of the shim; `device` is its runtime.
struct on_shim {
  std::unique_ptr<backend> made;
  gpu::shim::shim_runtime* device;
  std::uint32_t vocabulary;
};

on_shim make_sampling_backend() {
  static std::uint32_t seed = 100;
  auto file = gguf::parse(test::tiny_model({.seed = 3,
                                            .layers = 1,
                                            .width = 64,
                                            .heads = 2,
                                            .kv_heads = 1,
                                            .head_size = 64,
                                            .feed_forward = 128,
                                            .context = 1024,
                                            .type = gguf::tensor_type::q8_0}));
  BOOST_REQUIRE(file);
  auto program = make_program(**file);
  BOOST_REQUIRE(program);
  auto device = std::make_unique<gpu::shim::shim_runtime>(
    gpu::shim_kernels(),
    gpu::shim::shim_options{.memory_bytes = 1 << 28, .seed = ++seed, .finds_global_races = true});
  auto* watched = device.get();
  auto made = gpu::load_backend(std::move(device), "cuda-shim", *file, *program,
                                {.kv_blocks = 64, .max_rows = 192, .max_logit_rows = 24, .threads = 1});
  BOOST_REQUIRE_MESSAGE(made, made.error().message);
  return {std::move(*made), watched, program->vocabulary};
}

/// The same backend, but for what samples.
class gives_logits final : public backend {
public:
  explicit gives_logits(std::unique_ptr<backend> real) : real_(std::move(real)) {}

  std::string_view name() const override { return real_->name(); }
  std::string_view kv_type() const override { return real_->kv_type(); }
  memory_account memory() const override { return real_->memory(); }
  std::size_t block_bytes(kv_group group) const override { return real_->block_bytes(group); }
  expected<void> forward(const forward_batch& batch, std::span<float> logits) override {
    return real_->forward(batch, logits);
  }
  expected<void> read_block(kv_group group, block_id block, std::span<std::byte> to) const override {
    return real_->read_block(group, block, to);
  }
  expected<void> write_block(kv_group group, block_id block, std::span<const std::byte> from) override {
    return real_->write_block(group, block, from);
  }
  expected<void> copy_block(kv_group group, block_id from, block_id to) override {
    return real_->copy_block(group, from, to);
  }

private:
  std::unique_ptr<backend> real_;
};

void check_same_result(const step_result& got, const step_result& wanted) {
  BOOST_TEST(got.sampled == wanted.sampled, boost::test_tools::per_element());
  BOOST_TEST(got.accepted == wanted.accepted, boost::test_tools::per_element());
  BOOST_TEST_REQUIRE(got.failures.size() == wanted.failures.size());
  for (std::size_t i = 0; i < got.failures.size(); ++i) {
    BOOST_TEST(got.failures[i].row == wanted.failures[i].row);
    BOOST_TEST((got.failures[i].why == wanted.failures[i].why));
  }
  for (auto of : {&step_result::logprobs, &step_result::prompt_logprobs}) {
    BOOST_TEST_REQUIRE((got.*of).size() == (wanted.*of).size());
    for (std::size_t i = 0; i < (got.*of).size(); ++i)
      BOOST_TEST(((got.*of)[i].tokens == (wanted.*of)[i].tokens));
  }
}

/// Some sequences on a backend that samples, and on one that does not.
class side_by_side {
public:
  explicit side_by_side(std::vector<company::member> members) : sequences_(std::move(members)) {}

  step_result step(const step_changes& step) {
    const auto before = samples_.device->calls();
    const auto got = device_.run(step), wanted = host_.run(step);
    count_since(before);
    BOOST_TEST(host_.asked() == 0u);
    check_same_result(got, wanted);
    sequences_.take(step, got);
    return got;
  }
  step_result join() { return step(sequences_.join()); }
  step_result go_on(std::span<const slot_id> who, const std::vector<token_id>& drafts = {}) {
    return step(sequences_.go_on(who, drafts));
  }
  step_result go_on() { return go_on(sequences_.all()); }

  /// Each step of these is queued before what was sampled in the one before is known.
  void run_ahead(const std::vector<std::vector<slot_id>>& steps) {
    std::deque<step_changes> made;
    const auto end = [&] {
      check_same_result(device_.end(), host_.run(made.front()));
      made.pop_front();
    };
    for (const auto& who : steps) {
      const auto before = samples_.device->calls();
      device_.begin(made.emplace_back(sequences_.go_on(who)));
      sequences_.take(made.back());
      if (made.size() == 2)
        end();
      count_since(before);
    }
    end();
  }

  std::size_t asked() const { return device_.asked(); }
  std::uint32_t vocabulary() const { return samples_.vocabulary; }

  std::uint64_t launches = 0, copies = 0, synchronisations = 0, bytes_out = 0; ///< Of the last step.

private:
  void count_since(const gpu::shim::call_counts& before) {
    const auto after = samples_.device->calls();
    launches = after.launches - before.launches;
    copies = after.copies - before.copies;
    synchronisations = after.synchronisations - before.synchronisations;
    bytes_out = after.bytes_out - before.bytes_out;
  }

  on_shim samples_ = make_sampling_backend();
  gives_logits logits_{make_sampling_backend().made};
  step_runner device_{*samples_.made, samples_.vocabulary};
  step_runner host_{logits_, samples_.vocabulary};
  company sequences_;
};

sequence_sampling warm(std::uint64_t seed) {
  sequence_sampling out;
  out.temperature = 0.9f;
  out.seed = seed;
  return out;
}

/// One of each setting that there is.
std::vector<company::member> all_settings() {
  std::vector<company::member> out(12);
  for (std::size_t i = 1; i < out.size(); ++i)
    out[i].sampling = warm(i);
  out[2].sampling.top_k = 20;
  out[2].sampling.top_p = 0.9f;
  out[3].sampling.top_p = 0.8f;
  out[3].sampling.logprobs = 3;
  out[4].sampling.min_p = 0.05f;
  out[4].sampling.typical_p = 0.7f;
  out[5].sampling.repetition_penalty = 1.4f;
  out[5].sampling.frequency_penalty = 0.8f;
  out[5].sampling.presence_penalty = 0.3f;
  out[5].sampling.logprobs = 20;
  out[6].sampling.allowed_tokens = {30, 31, 32, 33, 100, 101, 260};
  out[6].sampling.logprobs = 0;
  out[7].sampling.logit_bias = {{40, 20.0f}, {41, 20.0f}, {40, -1.0f}};
  out[7].sampling.end_tokens = {40};
  out[7].sampling.min_tokens = 3;
  out[8].sampling.allowed_tokens = {50, 51, 52};
  out[8].sampling.bad_words = {{50}, {51, 52}, {52, 51}};
  out[9].sampling.prompt_logprobs = 2;
  out[10].sampling.allowed_tokens = {60}; // Nothing is left.
  out[10].sampling.bad_words = {{60}};
  out[11].sampling.temperature = 0;
  out[11].sampling.frequency_penalty = 1.5f;
  for (std::size_t i = 0; i < out.size(); ++i)
    for (std::size_t j = 0; j < 2 + i % 4; ++j)
      out[i].prompt.push_back(static_cast<token_id>(5 + i * 3 + j));
  return out;
}

std::vector<company::member> plain_settings(std::size_t count) {
  std::vector<company::member> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i].prompt = {static_cast<token_id>(7 + i), 9, 4};
    if (i > 0)
      out[i].sampling = warm(i);
  }
  return out;
}

} // namespace

BOOST_AUTO_TEST_SUITE(device_sampling_suite)

BOOST_AUTO_TEST_CASE(a_mix_of_all_settings_is_sampled_as_the_host_samples_it) {
  side_by_side both(all_settings());
  const auto first = both.join();
  BOOST_TEST(both.asked() == 12u + 2); // And two tokens of a prompt are judged.
  BOOST_TEST(first.logprobs.size() == 3u);
  BOOST_TEST(first.prompt_logprobs.size() == 1u);
  BOOST_TEST(first.failures.size() == 1u);
  for (int i = 0; i < 6; ++i) {
    both.go_on();
    BOOST_TEST(both.asked() == 12u);
  }
  BOOST_TEST(both.launches == 1u);
}

BOOST_AUTO_TEST_CASE(random_settings_are_sampled_as_the_host_samples_them) {
  random_rows random(5);
  for (int round = 0; round < 3; ++round) {
    std::vector<company::member> members(9);
    for (auto& each : members) {
      each.prompt = random.tokens(1 + random.below(6), 200);
      each.sampling = random.truncation(250);
      if (random.one_in(4))
        each.sampling.temperature = 0;
      if (random.one_in(3))
        each.sampling.frequency_penalty = 0.7f;
      if (random.one_in(3))
        each.sampling.logit_bias = {{static_cast<token_id>(random.below(250)), random.normal(4)}};
      if (random.one_in(4))
        each.sampling.logprobs = static_cast<std::int32_t>(random.below(21));
    }
    side_by_side both(members);
    both.join();
    for (int i = 0; i < 4; ++i)
      both.go_on();
    BOOST_TEST(both.asked() == 9u);
  }
}

BOOST_AUTO_TEST_CASE(drafts_are_sampled_on_the_device_where_only_logits_decide) {
  side_by_side both(all_settings());
  both.join();
  const std::vector<slot_id> without_history{0, 1, 3, 7}, with_history{0, 5};
  both.go_on(without_history, {40, 41});
  BOOST_TEST(both.asked() == 4u * 3);
  both.go_on(with_history, {40});
  BOOST_TEST(both.asked() == 0u);
  both.go_on(without_history); // The device goes on from what the host has sampled, and the other way round.
  BOOST_TEST(both.asked() == 4u);
  // One that is right: what is sampled greedily, was so, too, when it was guessed.
  side_by_side greedy(plain_settings(1));
  side_by_side guessed(plain_settings(1));
  greedy.join();
  guessed.join();
  const auto next = greedy.go_on().sampled.front(), after = greedy.go_on().sampled.front();
  const std::vector<slot_id> own{0};
  const auto result = guessed.go_on(own, {next, after, 3});
  BOOST_TEST(result.accepted.front() >= 2u);
}

BOOST_AUTO_TEST_CASE(a_graph_of_one_step_is_good_for_other_settings) {
  auto members = plain_settings(6);
  members[4].sampling.top_k = 5;
  members[5].sampling = {};
  side_by_side plain(members);
  plain.join();
  const std::vector<slot_id> some{0, 1, 2}, others{3, 4, 5};
  plain.go_on(some);
  plain.go_on(some);
  plain.go_on(others);
  BOOST_TEST(plain.launches == 1u);
  // With more and less of what has no fixed length.
  auto changed = plain_settings(6);
  changed[0].sampling.repetition_penalty = 1.2f;
  changed[3].sampling.frequency_penalty = 1.0f;
  changed[3].prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  changed[4].sampling.allowed_tokens = {20, 21, 22};
  changed[5].sampling.logit_bias = {{17, 12.0f}};
  side_by_side both(changed);
  both.join();
  both.go_on(some);
  both.go_on(some);
  both.go_on(others);
  BOOST_TEST(both.launches == 1u);
}

BOOST_AUTO_TEST_CASE(a_graph_that_does_less_is_not_used_for_a_step_that_wants_more) {
  auto members = plain_settings(6);
  members[3].sampling.logit_bias = {{17, 12.0f}};
  members[4].sampling.top_p = 0.7f;
  members[5].sampling.logprobs = 2;
  side_by_side both(members);
  both.join();
  const std::vector<slot_id> plain{0, 1}, changed{3, 4}, judged{0, 5};
  for (int i = 0; i < 3; ++i)
    for (const auto* who : {&plain, &changed, &judged}) {
      both.go_on(*who);
      if (i == 2)
        BOOST_TEST(both.launches == 1u);
    }
}

BOOST_AUTO_TEST_CASE(a_steady_step_brings_tokens_and_not_logits) {
  side_by_side both(plain_settings(3));
  both.join();
  both.go_on();
  both.go_on();
  for (int i = 0; i < 3; ++i) {
    both.go_on();
    BOOST_TEST(both.launches == 1u);
    BOOST_TEST(both.copies == 2u);
    BOOST_TEST(both.synchronisations == 1u);
    BOOST_TEST(both.bytes_out == 4u * 8); // The rung of three rows, whatever the vocabulary.
  }
  auto judged = plain_settings(3);
  judged[1].sampling.logprobs = 4;
  side_by_side told(judged);
  told.join();
  told.go_on();
  told.go_on();
  told.go_on();
  BOOST_TEST(told.launches == 1u);
  BOOST_TEST(told.copies == 2u);
  BOOST_TEST(told.bytes_out == 4u * (16 + 20 * 8));
}

BOOST_AUTO_TEST_CASE(steps_go_on_from_tokens_that_only_the_device_knows) {
  auto members = plain_settings(6);
  members[2].sampling.logprobs = 3;
  members[3].sampling.allowed_tokens = {30, 31, 32, 33};
  members[4].sampling.min_tokens = 4;
  members[4].sampling.end_tokens = {4, 5, 6};
  members[5].sampling.top_p = 0.8f;
  side_by_side both(members);
  both.join();
  const std::vector<slot_id> all{0, 1, 2, 3, 4, 5}, other_way{5, 4, 3, 2, 1, 0}, some{1, 4};
  both.run_ahead({all, other_way, some, all, all, {3}, {3, 5}, all});
  both.go_on(some); // The host knows all of them now.
  both.run_ahead({some, all});
}

BOOST_AUTO_TEST_CASE(a_steady_step_ahead_is_one_launch_two_copies_and_one_event) {
  side_by_side both(plain_settings(3));
  both.join();
  const std::vector<slot_id> all{0, 1, 2};
  both.run_ahead({all, all, all, all, all});
  BOOST_TEST(both.launches == 1u);
  BOOST_TEST(both.copies == 2u);
  BOOST_TEST(both.synchronisations == 1u);
  BOOST_TEST(both.bytes_out == 4u * 8);
}

BOOST_AUTO_TEST_CASE(what_has_no_room_on_the_device_is_left_to_the_host) {
  constexpr std::uint32_t vocabulary = 1 << 20;
  const device_sampling sampling(vocabulary, vocabulary, 64);
  sequence_sampling masked, penalised;
  masked.allowed_tokens = {5};
  penalised.presence_penalty = 1;
  const std::vector<token_id> tokens{1, 2, 3};
  const troupe::sampling::token_history history(1, tokens);
  const auto fits = [&](const sequence_sampling& parameters, std::size_t count) {
    return sampling.has_room_for(
      std::vector<sampling_request>(count, {.parameters = &parameters, .position = 3, .history = &history}));
  };
  BOOST_TEST(fits({}, 64));
  BOOST_TEST(fits(penalised, 64));
  BOOST_TEST(fits(masked, 30)); // Of 128 KiB each.
  BOOST_TEST(!fits(masked, 32));
}

BOOST_AUTO_TEST_CASE(what_is_launched_follows_from_what_is_asked) {
  device_sampling sampling(500, 504, 8);
  sequence_sampling greedy, cut = warm(1), share = warm(2), told = warm(3);
  cut.top_k = 3;
  cut.top_p = 0.5f;
  share.top_p = 0.5f;
  told.logprobs = 0;
  const auto kind_of = [&](std::initializer_list<const sequence_sampling*> all) {
    std::vector<sampling_request> asked;
    for (const auto* each : all)
      asked.push_back({.parameters = each});
    sampling.take(asked);
    return sampling.kind();
  };
  BOOST_TEST((kind_of({}) == sampling_kind::none));
  BOOST_TEST((kind_of({&greedy, &cut}) == sampling_kind::plain));
  BOOST_TEST((kind_of({&greedy, &share, &cut}) == sampling_kind::changed));
  BOOST_TEST((kind_of({&told, &share}) == sampling_kind::judged));
  BOOST_TEST((kind_of({&greedy}) == sampling_kind::plain));
}

BOOST_AUTO_TEST_SUITE_END()
