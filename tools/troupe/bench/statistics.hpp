// What is told of many measurements.
#pragma once

#include <string>
#include <vector>

namespace troupe::cli {

/// 0 of nothing.
double mean_of(const std::vector<double>& values);

/// Of the values as the whole population; 0 of nothing.
double deviation_of(const std::vector<double>& values);

/// The value that `percent` of them (0 to 100) are not above, between two by linear interpolation, as numpy.percentile
/// has it; 0 of nothing.
double percentile_of(std::vector<double> values, double percent);

inline double median_of(std::vector<double> values) {
  return percentile_of(std::move(values), 50);
}

/// "99", "99.9".
std::string percent_name(double percent);

} // namespace troupe::cli
