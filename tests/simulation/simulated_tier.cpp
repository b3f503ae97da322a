#include "tests/simulation/simulated_tier.hpp"

namespace troupe::simulated {

namespace {

constexpr std::uint64_t block_bytes = tokens_per_block * sizeof(token_id);

std::uint64_t sum_of(const std::vector<std::byte>& bytes) {
  std::uint64_t sum = 0xcbf29ce484222325u;
  for (auto byte : bytes)
    sum = (sum ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  return sum;
}

class troubled_tier : public block_tier {
public:
  troubled_tier(simulation& world, const tier_plan& plan, tier_figures& figures, tier_contents& contents)
      : random_(world.random().split()), plan_(plan), figures_(figures), kept_(*contents.kept), sums_(contents.sums) {}

  std::string_view name() const override { return "simulated"; }
  std::vector<block_hash> list() const override { return kept_.list(); }
  bool contains(const block_hash& hash) const override { return kept_.contains(hash); }
  void use(const block_hash& hash) override { kept_.use(hash); }
  void drop(const block_hash& hash) override { kept_.drop(hash); }
  tier_counts counts() const override { return kept_.counts(); }
  expected<void> check_integrity() const override { return kept_.check_integrity(); }

  tier_saved save(const tier_block& block) override {
    if (plan_.stops_after > 0 && figures_.saved >= plan_.stops_after)
      return stop();
    sums_[block.hash] = sum_of(*block.bytes);
    ++figures_.saved;
    if (!random_.chance(plan_.damage_percent))
      return kept_.save(block);
    auto bytes = *block.bytes;
    bytes[random_.below(bytes.size())] ^= std::byte{1};
    auto damaged = block;
    damaged.bytes = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    return kept_.save(damaged);
  }

  expected<shared_bytes> load(const block_hash& hash) override {
    auto bytes = kept_.load(hash);
    if (!bytes)
      return bytes;
    const bool damaged = sum_of(**bytes) != sums_[hash];
    figures_.damaged += damaged;
    if (damaged || random_.chance(plan_.missing_percent)) {
      ++figures_.missing;
      kept_.drop(hash);
      return fail(errc::not_found, "The block is gone.");
    }
    ++figures_.loaded;
    return bytes;
  }

private:
  tier_saved stop() {
    tier_saved result;
    if (!std::exchange(stopped_, true)) {
      ++figures_.stopped;
      result.problem = error{errc::unavailable, "there is no room"};
    }
    return result;
  }

  dice random_;
  const tier_plan& plan_;
  tier_figures& figures_;
  memory_tier& kept_;
  std::map<block_hash, std::uint64_t>& sums_;
  bool stopped_ = false;
};

} // namespace

tier_factory simulated_tier(simulation& world, const world_plan& plan, tier_figures& figures, tier_contents& contents) {
  if (!contents.kept)
    contents.kept = std::make_unique<memory_tier>(plan.tier->capacity_blocks * block_bytes);
  return [&world, &plan, &figures, &contents]() -> expected<std::unique_ptr<block_tier>> {
    if (plan.tier->cannot_open)
      return fail(errc::unavailable, "it cannot be opened, as the plan wanted");
    return std::make_unique<troubled_tier>(world, *plan.tier, figures, contents);
  };
}

} // namespace troupe::simulated
