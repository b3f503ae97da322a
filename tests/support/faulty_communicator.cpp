#include "tests/support/faulty_communicator.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace troupe::test {

void comm_faults::plan(const planned_fault& fault) {
  const std::lock_guard guard(mutex_);
  planned_.push_back(fault);
}

void comm_faults::from_now_on(unsigned rank, comm_fault what, std::chrono::milliseconds delay) {
  const std::lock_guard guard(mutex_);
  planned_.push_back({rank, calls_[rank], what, delay, true});
}

void comm_faults::clear() {
  const std::lock_guard guard(mutex_);
  planned_.clear();
}

std::uint64_t comm_faults::calls(unsigned rank) const {
  const std::lock_guard guard(mutex_);
  const auto found = calls_.find(rank);
  return found == calls_.end() ? 0 : found->second;
}

void comm_faults::aborted(std::uint64_t epoch) {
  {
    const std::lock_guard guard(mutex_);
    aborted_.insert(epoch);
  }
  changed_.notify_all();
}

std::optional<planned_fault> comm_faults::next(unsigned rank) {
  const std::lock_guard guard(mutex_);
  const auto call = calls_[rank]++;
  const auto found = std::ranges::find_if(planned_, [&](const planned_fault& one) {
    return one.rank == rank && (one.call == call || (one.from_then_on && one.call < call));
  });
  return found == planned_.end() ? std::nullopt : std::optional(*found);
}

bool comm_faults::wait_for_abort(std::uint64_t epoch, std::optional<communicator::deadline> until) {
  std::unique_lock lock(mutex_);
  const auto come = [&] { return aborted_.contains(epoch); };
  if (until)
    return changed_.wait_until(lock, *until, come);
  changed_.wait(lock, come);
  return true;
}

namespace {

class faulty_communicator final : public communicator {
public:
  faulty_communicator(std::unique_ptr<communicator> inner, std::shared_ptr<comm_faults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}

  unsigned rank() const override { return inner_->rank(); }
  unsigned size() const override { return inner_->size(); }
  std::uint64_t epoch() const override { return inner_->epoch(); }
  unsigned shards() const override { return inner_->shards(); }

  expected<void> all_reduce(std::span<const float> partial, std::span<float> sum, deadline until) override {
    return call(until, [&] { return inner_->all_reduce(partial, sum, until); });
  }
  expected<void> all_gather(std::span<const std::byte> mine, std::span<std::byte> all, deadline until) override {
    return call(until, [&] { return inner_->all_gather(mine, all, until); });
  }
  expected<void> broadcast(std::span<std::byte> data, unsigned root, deadline until) override {
    return call(until, [&] { return inner_->broadcast(data, root, until); });
  }
  expected<void> all_to_all(std::span<const std::byte> to, std::span<std::byte> from, deadline until) override {
    return call(until, [&] { return inner_->all_to_all(to, from, until); });
  }
  expected<void> send(std::span<const std::byte> data, unsigned to, deadline until) override {
    return call(until, [&] { return inner_->send(data, to, until); });
  }
  expected<void> receive(std::span<std::byte> data, unsigned from, deadline until) override {
    return call(until, [&] { return inner_->receive(data, from, until); });
  }
  expected<void> barrier(deadline until) override {
    return call(until, [&] { return inner_->barrier(until); });
  }

  void abort() override {
    inner_->abort();
    faults_->aborted(epoch());
  }

  bool is_broken() const override { return broken_ || inner_->is_broken(); }

private:
  template <class Call>
  expected<void> call(deadline until, Call call) {
    if (broken_)
      return tl::unexpected(*broken_);
    if (const auto fault = faults_->next(rank()))
      if (auto gone_wrong = suffer(*fault, until); !gone_wrong)
        return gone_wrong;
    auto result = call();
    if (!result) {
      broken_ = result.error();
      faults_->aborted(epoch()); // A call that fails breaks the group.
    }
    return result;
  }

  /// Nothing: the call is made all the same.
  expected<void> suffer(const planned_fault& fault, deadline until) {
    switch (fault.what) {
    case comm_fault::hang:
      faults_->wait_for_abort(epoch(), until);
      abort();
      return broken("hung");
    case comm_fault::delay:
      faults_->wait_for_abort(epoch(), std::chrono::steady_clock::now() + fault.delay);
      return {};
    case comm_fault::abort:
      abort();
      return broken("aborted the group");
    case comm_fault::fail:
      return broken("failed");
    case comm_fault::lose:
      faults_->wait_for_abort(epoch(), std::nullopt);
      return broken("was lost");
    }
    return {};
  }

  expected<void> broken(const char* how) {
    broken_ = error{errc::unavailable, "Rank " + std::to_string(rank()) + " of epoch " + std::to_string(epoch()) +
                                         " " + how + ", as the test wants it."};
    return tl::unexpected(*broken_);
  }

  const std::unique_ptr<communicator> inner_;
  const std::shared_ptr<comm_faults> faults_;
  std::optional<error> broken_; ///< All calls fail from now on.
};

} // namespace

std::unique_ptr<communicator> with_faults(std::unique_ptr<communicator> inner, std::shared_ptr<comm_faults> faults) {
  return std::make_unique<faulty_communicator>(std::move(inner), std::move(faults));
}

} // namespace troupe::test
