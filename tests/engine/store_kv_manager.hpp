// The real store in the place of the KV-cache manager, with a tier whose transfers take their time, and fail.
#pragma once

#include <map>
#include <random>

#include "engine/kv/store.hpp"
#include "tests/engine/kv_partner.hpp"
#include "tests/engine/naive_device.hpp"

namespace troupe::test {

class store_kv_manager : public kv_partner {
public:
  struct device_access {
    std::function<naive_device&()> device;
    std::function<std::uint32_t()> generation; ///< Raised when the device is a new one.
  };

  store_kv_manager(const std::vector<kv_group_options>& groups, std::uint32_t seed, bool tier, device_access access)
      : rng_(seed), access_(std::move(access)) {
    kv_store_options options;
    options.groups = groups;
    options.tier.enabled = tier;
    options.tier.max_saving = 1 + rng_() % 4;
    options.tier.max_loading = 1 + rng_() % 8;
    options.tier.max_hashes = 1 + rng_() % 100;
    auto made = kv_store::make(options);
    must(made.has_value(), "the store refuses its options");
    store_.emplace(std::move(*made));
  }

  kv_grant process(const kv_report& report) override {
    auto grant = store_->apply(report);
    if (!grant)
      throw broken_promise("the store objects: " + grant.error().message);
    for (const auto& save : store_->take_saves())
      saves_.push_back(
        {save, access_.device().block(save.group, save.block), access_.generation() == store_->generation()});
    for (const auto& load : store_->take_loads())
      loads_.push_back(load);
    return *grant;
  }

  std::optional<std::pair<kv_hit, std::uint32_t>> decide_late() override {
    end_a_save();
    end_a_load();
    for (auto& hit : store_->take_hits())
      hits_.emplace_back(std::move(hit), store_->generation());
    if (hits_.empty())
      return std::nullopt;
    auto result = std::move(hits_.front());
    hits_.erase(hits_.begin());
    return result;
  }

  bool blocks_came_free() override { return std::exchange(transfer_ended_, false); }
  bool nothing_waits() const override { return saves_.empty() && loads_.empty() && hits_.empty(); }
  bool may_use(sequence_id, std::size_t, std::size_t, block_id) const override { return true; }
  bool has_account(sequence_id) const override { return true; }
  std::size_t accounts() const override { return store_->sequences(); }
  std::uint32_t leased(std::size_t group) const override { return store_->counts()[group].leased; }
  void check() const override { must(store_->check_integrity()); }

private:
  struct running_save {
    kv_save save;
    naive_device::block_content content;
    bool right = false; ///< Read while the device was the one of whose blocks the store knows.
  };

  template <class Transfer>
  Transfer take_any(std::vector<Transfer>& transfers) {
    const auto chosen = transfers.begin() + static_cast<std::ptrdiff_t>(rng_() % transfers.size());
    auto result = std::move(*chosen);
    transfers.erase(chosen);
    return result;
  }

  void end_a_save() {
    if (saves_.empty())
      return;
    transfer_ended_ = true;
    const auto ended = take_any(saves_);
    const auto kept = store_->saved(ended.save, ended.right && rng_() % 10 != 0);
    must(kept.has_value(), "the store does not know its own save");
    if (*kept)
      tier_[ended.save.hash.words] = ended.content;
  }

  void end_a_load() {
    if (loads_.empty())
      return;
    transfer_ended_ = true;
    const auto load = take_any(loads_);
    const bool ok = rng_() % 10 != 0;
    if (ok)
      access_.device().write(load.group, load.block, tier_.at(load.hash.words));
    must(store_->loaded(load, ok).has_value(), "the store does not know its own load");
  }

  std::mt19937 rng_;
  device_access access_;
  std::optional<kv_store> store_;
  std::vector<running_save> saves_;
  std::vector<kv_load> loads_;
  std::vector<std::pair<kv_hit, std::uint32_t>> hits_;
  bool transfer_ended_ = false;
  std::map<std::array<std::uint64_t, block_hash{}.words.size()>, naive_device::block_content> tier_;
};

} // namespace troupe::test
