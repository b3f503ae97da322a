// A measured search for the best settings of a server: what to measure next, and what has won. It measures nothing itself.
//
// Hill climbing: the best setting so far is compared with its neighbours, which have one option one value further up or
// down, and the first that is better by more than the noise takes its place. Each setting is measured several times and
// counts by its median, but one whose first measurement is far behind has no second. In the end the winner and what the
// search began with are measured again in turns, since the best of many noisy figures is better than it will be again:
// what it began with stays, unless the winner beats it there.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace troupe::cli {

struct searched_option {
  std::string name;                ///< "max-num-seqs"
  std::vector<std::string> values; ///< In their order: neighbours are alike.
};

/// Of each option the index of its value.
using setting = std::vector<std::size_t>;

struct measurement {
  double throughput = 0; ///< Output tokens a second.
  double excess = 0;     ///< By what factor the worst of the bounds was exceeded; 1 or less: by none.
};

/// Medians of measurements.
struct setting_score {
  double throughput = 0, excess = 0;
  bool within_bounds() const { return excess <= 1; }
};
setting_score score_of(const std::vector<measurement>& runs);

/// Whether a setting beats another: by being within the bounds alone; where both are, by throughput with at least `gain`
/// more (0.02 is two percent); where neither is, by exceeding them less.
bool beats(const setting_score& one, const setting_score& other, double gain);

struct search_limits {
  unsigned repeats = 3;   ///< Measurements of each setting.
  unsigned settings = 20; ///< Tried at most, the first included.
  double gain = 0.02;     ///< A share of the throughput below which a difference is noise.
};

class setting_search {
public:
  setting_search(std::vector<searched_option> options, setting start, search_limits limits);

  /// What is to be measured now; nothing when the search is over. The same until `tell` was called.
  std::optional<setting> next() const;
  /// The measurement of what `next` gave.
  void tell(const measurement& what);

  bool confirming() const { return confirming_; } ///< Whether only `found` and `start` are measured still.
  const setting& start() const { return start_; }
  const setting& found() const { return found_; } ///< The winner of the climb, once that is over.
  /// In the end `found`, or `start` where that is not beaten again.
  const setting& best() const { return best_; }
  /// In the order in which they were tried.
  const std::vector<setting>& tried() const { return tried_; }
  const std::vector<measurement>& runs_of(const setting& which) const { return runs_.at(which); }
  /// The measurements after the climb, of `start` and `found` alone; empty where they are the same.
  const std::vector<measurement>& confirmed(const setting& which) const;

  /// By the measurements after the climb, where there are some.
  setting_score score_of_best() const;

  /// {"--max-num-seqs", "32", ...}
  std::vector<std::string> arguments_of(const setting& which) const;

private:
  bool is_hopeless() const;
  void choose();

  std::vector<searched_option> options_;
  setting start_, found_, best_;
  search_limits limits_;
  std::optional<setting> now_;
  std::vector<setting> tried_;
  std::map<setting, std::vector<measurement>> runs_, confirmed_;
  bool confirming_ = false;
};

} // namespace troupe::cli
