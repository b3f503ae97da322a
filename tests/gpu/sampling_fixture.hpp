// Steps of sampling on the shim's device, and what the CPU's sampler says of the same rows.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "gpu/kernels/sampling_launch.hpp"
#include "model/sampling/logprobs.hpp"
#include "model/sampling/sampler.hpp"
#include "tests/gpu/kernel_fixture.hpp"
#include "tests/model/sampling/random_rows.hpp"

namespace troupe::gpu::test {

/// A row that is to be sampled.
struct sampled_row {
  std::uint32_t logits = 0; ///< Of the step's.
  sequence_sampling sampling{};
  std::uint32_t prompt_tokens = 0;
  std::vector<token_id> tokens{}; ///< Of the sequence so far.
  std::vector<std::uint32_t> mask{};

  std::uint32_t position() const { return static_cast<std::uint32_t>(tokens.size()); }
};

/// What is known of a row afterwards.
struct sampled_token {
  sampling_status status = sampling_status::sampled;
  token_id token = 0;
  std::optional<token_logprob> logprob;
};

inline std::string told(const sampled_token& of) {
  auto out = fmt::format("status {}, token {}", static_cast<std::uint32_t>(of.status), of.token);
  if (!of.logprob)
    return out;
  out += fmt::format(", logprob {:x}, rank {}", bits_as<std::uint32_t>(of.logprob->logprob), of.logprob->rank);
  for (const auto& other : of.logprob->top)
    out += fmt::format(", {} {:x}", other.token, bits_as<std::uint32_t>(other.logprob));
  return out;
}

inline sampled_token sampled_by_cpu(const sampled_row& row, std::span<const float> logits) {
  sampling_workspace room(static_cast<std::uint32_t>(logits.size()));
  const sequence_sampler sampler(std::make_shared<const sequence_sampling>(row.sampling), row.prompt_tokens,
                                 row.tokens);
  const auto token = sampler.sample(logits, row.position(), room, row.mask);
  if (!token)
    return {token.error().code == errc::internal ? sampling_status::damaged : sampling_status::none_left, 0, {}};
  sampled_token out{sampling_status::sampled, *token, {}};
  if (row.sampling.logprobs >= 0)
    out.logprob = logprob_of(logits, *token, static_cast<std::uint32_t>(row.sampling.logprobs), room).value();
  return out;
}

struct sampling_fixture : kernel_fixture {
  /// all: the step's rows of logits, each of `vocabulary`.
  sampling_fixture(std::uint32_t seed, std::vector<std::vector<float>> all, std::uint32_t padding = 0)
      : kernel_fixture(seed), logits(std::move(all)), vocabulary(static_cast<std::uint32_t>(logits.front().size())),
        stride((vocabulary + 3) / 4 * 4 + padding * 4), step(vocabulary) {
    std::vector<float> padded;
    for (const auto& row : logits) {
      padded.insert(padded.end(), row.begin(), row.end());
      // What is beyond the vocabulary must not be looked at.
      padded.resize((padded.size() + stride - 1) / stride * stride, std::numeric_limits<float>::quiet_NaN());
    }
    buffers.logits = upload(padded).at;
  }

  std::uint32_t blocks() const { return (vocabulary + 31) / 32; }

  void add(const sampled_row& row) {
    histories.push_back(std::make_unique<sampling::token_history>(row.prompt_tokens, row.tokens));
    step.sample(row.logits, row.sampling, {row.position(), row.prompt_tokens, histories.back().get()}, row.mask);
  }

  /// Room for what was added, and the step's arrays on the device.
  void prepare() {
    const auto rows = step.rows().size(), edits = step.edits().size() + 1, seen = step.history().size() + 1;
    const auto put = [&](address& to, const auto& values) {
      if (!values.empty())
        to = upload(std::vector(values.begin(), values.end())).at;
    };
    put(buffers.rows, step.rows());
    put(buffers.edits, step.edits());
    put(buffers.history, step.history());
    put(buffers.masks, step.masks());
    buffers.block_largest = space<float>(rows * blocks()).at;
    buffers.largest = space<std::uint32_t>(rows).at;
    buffers.bins = space<wide>(rows * weight_bins).at;
    buffers.before_edits = space<float>(edits).at;
    buffers.before_history = space<float>(seen).at;
    buffers.tokens = space<std::int32_t>(rows).at;
    buffers.statuses = space<std::uint32_t>(rows).at;
    buffers.logprobs = space<float>(rows).at;
    buffers.ranks = space<std::uint32_t>(rows).at;
    buffers.top_tokens = space<std::int32_t>(rows * most_top_logprobs).at;
    buffers.top_logprobs = space<float>(rows * most_top_logprobs).at;
  }

  std::vector<sampled_token> run() {
    prepare();
    must(queue_sampling(device, stream, buffers, step.wants(stride)));
    must(device.synchronize(stream));
    return results();
  }

  std::vector<sampled_token> results() {
    const auto rows = step.rows().size();
    const auto tokens = download(global<std::int32_t>{buffers.tokens}, rows);
    const auto statuses = download(global<std::uint32_t>{buffers.statuses}, rows);
    BOOST_TEST_REQUIRE(tokens.size() == rows);
    std::vector<sampled_token> out;
    for (std::size_t i = 0; i < rows; ++i) {
      out.push_back({static_cast<sampling_status>(statuses[i]), tokens[i], {}});
      if (step.rows()[i].source.logprobs >= 0 && out.back().status == sampling_status::sampled)
        out.back().logprob = logprob_at(i, tokens[i]);
    }
    return out;
  }

  token_logprob logprob_at(std::size_t i, token_id token) {
    token_logprob out;
    out.token = token;
    out.logprob = download(global<float>{buffers.logprobs} + i, 1).at(0);
    out.rank = download(global<std::uint32_t>{buffers.ranks} + i, 1).at(0);
    const auto tokens = download(global<std::int32_t>{buffers.top_tokens} + i * most_top_logprobs, most_top_logprobs);
    const auto logprobs = download(global<float>{buffers.top_logprobs} + i * most_top_logprobs, most_top_logprobs);
    for (unsigned j = 0; j < most_top_logprobs && tokens[j] >= 0; ++j)
      out.top.push_back({tokens[j], logprobs[j]});
    return out;
  }

  /// Samples the rows on the device, and has each checked with the CPU's sampler.
  std::vector<sampled_token> expect_as_cpu(const std::vector<sampled_row>& rows) {
    for (const auto& row : rows)
      add(row);
    const auto found = run();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto wanted = told(sampled_by_cpu(rows[i], logits[rows[i].logits]));
      BOOST_TEST(told(found[i]) == wanted, "row " << i << ": " << told(found[i]) << " and not " << wanted);
    }
    return found;
  }

  std::vector<std::vector<float>> logits;
  std::uint32_t vocabulary, stride;
  sampling_step step;
  sampling_buffers buffers;
  std::vector<std::unique_ptr<sampling::token_history>> histories;
};

} // namespace troupe::gpu::test
