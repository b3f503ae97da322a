// A product of some rows with a stored matrix, and what it must be.
#pragma once

#include <utility>

#include "tests/gpu/stored_matrix.hpp"

namespace troupe::gpu::test {

struct product_case : weight_fixture {
  using planner = launch_plan (*)(const weight_layout&, std::uint32_t rows);

  std::uint32_t outputs, inputs;
  std::vector<bf16> x;
  planner plan = plan_product;
  double exactness = 1e-6; ///< Of the sizes that are added.

  product_case(weight_format format, std::uint32_t of_outputs, std::uint32_t of_inputs, std::uint32_t rows,
               std::uint32_t seed = 1)
      : weight_fixture(format, of_outputs, of_inputs, seed), outputs(of_outputs), inputs(of_inputs),
        x(brain_floats(std::size_t{rows} * inputs)) {}

  std::vector<float> run(std::uint32_t first_row, std::uint32_t rows) {
    const std::vector<bf16> own(x.begin() + first_row * inputs, x.begin() + (first_row + rows) * inputs);
    const auto y = space<float>(std::size_t{rows} * outputs);
    launch(plan(this->own.layout, rows), product_arguments{matrix, upload(own), {}, y, rows, outputs, 0});
    return download(y, std::size_t{rows} * outputs);
  }

  /// Output n of a row, and how far from it a sum of floats may be.
  std::pair<double, double> right(std::uint32_t row, std::uint32_t n) const {
    double sum = 0, sizes = 0, x_sizes = 0, largest = 0;
    for (std::uint32_t k = 0; k < inputs; ++k) {
      const double number = to_float(x[row * inputs + k]), weight = own.weights[std::size_t{n} * inputs + k];
      sum += number * weight;
      sizes += std::abs(number * weight);
      x_sizes += std::abs(number);
      largest = std::max(largest, std::abs(weight));
    }
    // Where there are minima, what is added is as large as they are, and may be larger than the weights.
    const bool has_minimum = own.layout.format == weight_format::q4_1 || own.layout.format == weight_format::q4_k;
    return {sum, exactness * (has_minimum ? x_sizes * largest : sizes)};
  }

  void expect_right(const std::vector<float>& y, std::uint32_t rows) const {
    BOOST_REQUIRE(y.size() == std::size_t{rows} * outputs);
    for (std::uint32_t row = 0; row < rows; ++row)
      for (std::uint32_t n = 0; n < outputs; ++n) {
        const auto [wanted, bound] = right(row, n);
        if (!(std::abs(y[row * outputs + n] - wanted) <= bound))
          BOOST_ERROR(to_string(own.layout.format)
                      << ": output " << n << " of row " << row << " is " << y[row * outputs + n] << " and not "
                      << wanted << ", which is more than " << bound << " away");
      }
  }

  /// Some rows by themselves have the bits that they have among all.
  void expect_same_bits(const std::vector<float>& all, std::uint32_t first, std::uint32_t rows) {
    const auto part = run(first, rows);
    for (std::size_t i = 0; i < part.size(); ++i)
      if (bits_as<std::uint32_t>(part[i]) != bits_as<std::uint32_t>(all[first * outputs + i]))
        BOOST_ERROR(to_string(own.layout.format) << ": number " << i << " of " << rows << " rows from " << first
                                                 << " has other bits than among all");
  }

  /// A bias and what was there are added where that is wanted, and columns of y behind the outputs are left alone.
  void expect_right_with_all_that_is_added(std::uint32_t rows, std::uint32_t stride) {
    for (const bool accumulates : {false, true})
      for (const bool has_bias : {false, true}) {
        const auto before = numbers(rows * stride), bias = numbers(outputs);
        const global<float> y{upload(before).at};
        launch(plan(own.layout, rows),
               product_arguments{matrix, upload(x), has_bias ? upload(bias) : global<const float>{}, y, rows, stride,
                                 accumulates});
        const auto got = download(y, rows * stride);
        for (std::uint32_t i = 0; i < rows * stride; ++i) {
          const auto row = i / stride, n = i % stride;
          if (n >= outputs) {
            BOOST_TEST(got[i] == before[i]);
            continue;
          }
          const double added = (accumulates ? before[i] : 0.0) + (has_bias ? bias[n] : 0.0);
          const auto [wanted, bound] = right(row, n);
          BOOST_TEST(std::abs(got[i] - wanted - added) <= bound + 1e-6);
        }
      }
  }
};

/// The widest input of those that a model has that is whole blocks of a format.
inline std::vector<std::uint32_t> widths_of(weight_format format) {
  std::vector<std::uint32_t> result;
  for (const auto width : {256u, 576u, 1536u, 4096u})
    if (width % block_columns(format) == 0)
      result.push_back(width);
  return result;
}

} // namespace troupe::gpu::test
