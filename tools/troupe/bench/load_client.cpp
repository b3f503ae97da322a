#include "tools/troupe/bench/load_client.hpp"

namespace troupe::cli {

struct load_client::talk {
  std::size_t number, turn = 0;
  stream_connection* connection;
  history before;
};

load_client::load_client(boost::asio::io_context& context, const stream_settings& settings, const body_settings& body,
                         const std::vector<conversation>& work, std::vector<double> arrivals, std::size_t most_open)
    : context_(context), settings_(settings), body_(body), work_(work), arrivals_(std::move(arrivals)),
      most_open_(most_open), arrival_(context), picture_(context) {
  std::size_t first = 0;
  for (const auto& each : work) {
    first_outcome_.push_back(first);
    first += each.size();
  }
  result_.outcomes.resize(first);
}

expected<load_result> load_client::run(const stop_signal& stop, progress& bar) {
  start_ = bench_clock::now();
  wait_for_arrival();
  wait_for_picture(bar);
  if (!run_until_stopped(context_, stop))
    return fail(errc::cancelled, "A signal came.");
  return std::move(result_);
}

void load_client::wait_for_arrival() {
  const auto now = since_start(bench_clock::now());
  while (arrived_ < work_.size() && arrivals_[arrived_] <= now)
    waiting_.push_back(arrived_++);
  start_waiting();
  if (arrived_ == work_.size())
    return;
  arrival_.expires_at(
    start_ + std::chrono::duration_cast<bench_clock::duration>(std::chrono::duration<double>(arrivals_[arrived_])));
  arrival_.async_wait([this](const boost::system::error_code& problem) {
    if (!problem)
      wait_for_arrival();
  });
}

void load_client::wait_for_picture(progress& bar) {
  if (!bar.visible())
    return;
  bar.show(requests_ended_);
  picture_.expires_after(std::chrono::milliseconds(200));
  picture_.async_wait([this, &bar](const boost::system::error_code& problem) {
    if (!problem)
      wait_for_picture(bar);
  });
}

void load_client::start_waiting() {
  for (; open_ < most_open_ && !waiting_.empty(); ++open_) {
    if (idle_.empty())
      idle_.push_back(connections_.emplace_back(std::make_unique<stream_connection>(context_, settings_)).get());
    const auto which = std::make_shared<talk>(waiting_.front(), 0, idle_.back(), history{});
    waiting_.pop_front();
    idle_.pop_back();
    ask(which);
  }
}

void load_client::ask(const std::shared_ptr<talk>& which) {
  which->connection->ask(
    request_body(body_, which->before, work_[which->number][which->turn]),
    [this, which](request_outcome outcome, bench_clock::time_point sent) { take(which, std::move(outcome), sent); });
}

void load_client::take(const std::shared_ptr<talk>& which, request_outcome outcome, bench_clock::time_point sent) {
  const auto& turns = work_[which->number];
  outcome.start = since_start(sent);
  if (which->turn == 0)
    outcome.queued = outcome.start - arrivals_[which->number];
  if (outcome.prompt_tokens == 0)
    outcome.prompt_tokens = turns[which->turn].prompt_tokens;
  auto* to = &result_.outcomes[first_outcome_[which->number] + which->turn];
  const bool goes_on = outcome.error.empty() && which->turn + 1 < turns.size();
  if (goes_on)
    which->before.emplace_back(turns[which->turn].text, outcome.text);
  *to = std::move(outcome);
  ++requests_ended_;
  if (goes_on) {
    ++which->turn;
    ask(which);
    return;
  }
  for (auto left = which->turn + 1; left < turns.size(); ++left, ++requests_ended_) {
    auto& never = *++to;
    never.error = "Not sent, since the turn before it failed.";
    never.start = since_start(bench_clock::now());
  }
  idle_.push_back(which->connection);
  --open_;
  if (++ended_ == work_.size()) {
    result_.duration_s = since_start(bench_clock::now());
    context_.stop();
    return;
  }
  start_waiting();
}

double load_client::since_start(bench_clock::time_point when) const {
  return std::chrono::duration<double>(when - start_).count();
}

} // namespace troupe::cli
