#include "tools/troupe/bench/setting_search.hpp"

#include "tools/troupe/bench/statistics.hpp"

namespace troupe::cli {

namespace {

constexpr double hopeless_throughput = 0.8; ///< Of the best's.
constexpr double hopeless_excess = 1.25;    ///< Times the bound, and the best's.

} // namespace

setting_score score_of(const std::vector<measurement>& runs) {
  std::vector<double> throughputs, excesses;
  for (const auto& run : runs) {
    throughputs.push_back(run.throughput);
    excesses.push_back(run.excess);
  }
  return {median_of(std::move(throughputs)), median_of(std::move(excesses))};
}

bool beats(const setting_score& one, const setting_score& other, double gain) {
  if (one.within_bounds() != other.within_bounds())
    return one.within_bounds();
  if (one.within_bounds())
    return one.throughput > other.throughput * (1 + gain);
  return one.excess * (1 + gain) < other.excess;
}

setting_search::setting_search(std::vector<searched_option> options, setting start, search_limits limits)
    : options_(std::move(options)), start_(std::move(start)), found_(start_), best_(start_), limits_(limits),
      now_(start_), tried_{start_} {}

std::optional<setting> setting_search::next() const {
  return now_;
}

void setting_search::tell(const measurement& what) {
  auto& runs = (confirming_ ? confirmed_ : runs_)[*now_];
  runs.push_back(what);
  if (confirming_) {
    if (*now_ == found_) {
      now_ = start_;
    } else if (runs.size() < limits_.repeats) {
      now_ = found_;
    } else {
      now_.reset();
      if (!beats(score_of(confirmed_.at(found_)), score_of(confirmed_.at(start_)), limits_.gain))
        best_ = start_;
    }
    return;
  }
  if (runs.size() < limits_.repeats && !is_hopeless())
    return;
  if (*now_ != best_ && runs.size() == limits_.repeats &&
      beats(score_of(runs), score_of(runs_.at(best_)), limits_.gain))
    best_ = *now_;
  choose();
}

bool setting_search::is_hopeless() const {
  if (*now_ == best_)
    return false;
  const auto mine = score_of(runs_.at(*now_)), other = score_of(runs_.at(best_));
  if (other.within_bounds())
    return mine.excess > hopeless_excess || mine.throughput < hopeless_throughput * other.throughput;
  return mine.excess > hopeless_excess * other.excess;
}

void setting_search::choose() {
  for (std::size_t i = 0; i < options_.size() && tried_.size() < limits_.settings; ++i)
    for (const int step : {1, -1}) {
      auto neighbour = best_;
      neighbour[i] += static_cast<std::size_t>(step); // One below 0 is beyond all values, too.
      if (neighbour[i] >= options_[i].values.size() || runs_.contains(neighbour))
        continue;
      tried_.push_back(neighbour);
      now_ = std::move(neighbour);
      return;
    }
  found_ = best_;
  confirming_ = found_ != start_;
  now_ = confirming_ ? std::optional(found_) : std::nullopt;
}

const std::vector<measurement>& setting_search::confirmed(const setting& which) const {
  static const std::vector<measurement> none;
  const auto found = confirmed_.find(which);
  return found == confirmed_.end() ? none : found->second;
}

setting_score setting_search::score_of_best() const {
  const auto& again = confirmed(best_);
  return score_of(again.empty() ? runs_.at(best_) : again);
}

std::vector<std::string> setting_search::arguments_of(const setting& which) const {
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < options_.size(); ++i) {
    arguments.push_back("--" + options_[i].name);
    arguments.push_back(options_[i].values[which[i]]);
  }
  return arguments;
}

} // namespace troupe::cli
