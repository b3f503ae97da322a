#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "tools/troupe/bench/plot.hpp"
#include "tools/troupe/bench/roofline.hpp"

namespace troupe::cli {

namespace {

/// A logarithmic axis from 10^low to 10^high, on so many pixels.
struct axis {
  double low, high, from, to;
  double at(double value) const { return from + (std::log10(value) - low) / (high - low) * (to - from); }
};

std::string line(double x1, double y1, double x2, double y2, const char* style) {
  return fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' {}/>\n", x1, y1, x2, y2, style);
}

std::string label(double x, double y, const std::string& what, const char* style = "") {
  return fmt::format("<text x='{:.1f}' y='{:.1f}' {}>{}</text>\n", x, y, style, svg_escaped(what));
}

std::string power(int exponent) {
  if (exponent < 0)
    return fmt::format("{:g}", std::pow(10, exponent));
  static constexpr const char* names[] = {"1",     "10",  "100",  "1 k",   "10 k", "100 k", "1 M",  "10 M",
                                          "100 M", "1 G", "10 G", "100 G", "1 T",  "10 T",  "100 T"};
  return exponent < 15 ? names[exponent] : fmt::format("1e{}", exponent);
}

std::string grid(const axis& x, const axis& y) {
  std::string out;
  for (int e = static_cast<int>(x.low); e <= x.high; ++e) {
    out += line(x.at(std::pow(10, e)), y.from, x.at(std::pow(10, e)), y.to, "class='grid'");
    out += label(x.at(std::pow(10, e)), y.from + 18, power(e), "text-anchor='middle'");
  }
  for (int e = static_cast<int>(y.low); e <= y.high; ++e) {
    out += line(x.from, y.at(std::pow(10, e)), x.to, y.at(std::pow(10, e)), "class='grid'");
    out += label(x.from - 8, y.at(std::pow(10, e)) + 4, power(e), "text-anchor='end'");
  }
  return out;
}

} // namespace

std::string roofline_svg(const std::string& machine, const cpu::machine_peaks& peaks,
                         const std::vector<phase>& phases) {
  double largest = peaks.byte_products, smallest = largest, least_intensity = 1;
  for (const auto& p : phases)
    smallest = std::min(smallest, p.work.products() / p.seconds),
    least_intensity = std::min(least_intensity, p.work.products() / p.work.bytes);
  const double leftmost = std::floor(std::log10(least_intensity));
  const axis x{leftmost, 4, 90, 760}, y{std::floor(std::log10(smallest)), std::ceil(std::log10(largest)), 420, 60};
  std::string out = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 800 480' font-family='sans-serif' "
                    "font-size='13'>\n<style>.grid{stroke:#ddd}.roof{stroke:#b33;stroke-width:2}"
                    ".point{fill:#26c}.gap{stroke:#26c;stroke-dasharray:3 3}</style>\n"
                    "<rect width='800' height='480' fill='white'/>\n";
  out += label(90, 40, machine);
  out += grid(x, y);
  const double ridge = peaks.byte_products / peaks.read_bytes;
  const double left = std::max(std::pow(10, x.low), std::pow(10, y.low) / peaks.read_bytes),
               middle = std::sqrt(left * ridge);
  out += line(x.at(left), y.at(left * peaks.read_bytes), x.at(ridge), y.at(peaks.byte_products), "class='roof'");
  out += label(x.at(middle) - 10, y.at(middle * peaks.read_bytes) - 4,
               fmt::format("reading {:.1f} GB/s", peaks.read_bytes / 1e9), "text-anchor='end'");
  const auto roof = [&](double peak, const char* of) {
    out += line(x.at(peak / peaks.read_bytes), y.at(peak), x.to, y.at(peak), "class='roof'");
    out += label(x.to, y.at(peak) - 8, fmt::format("{:.0f} billion products of {}/s", peak / 1e9, of),
                 "text-anchor='end'");
  };
  roof(peaks.byte_products, "bytes");
  roof(peaks.float_products, "floats");
  for (const auto& p : phases) {
    const double intensity = p.work.products() / p.work.bytes, rate = p.work.products() / p.seconds;
    const double limit = p.work.products() / p.least_seconds(peaks);
    out += line(x.at(intensity), y.at(rate), x.at(intensity), y.at(limit), "class='gap'");
    out += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='5' class='point'/>\n", x.at(intensity), y.at(rate));
    const auto number = fmt::format("{}", &p - phases.data() + 1);
    out += label(x.at(intensity) + 9, y.at(rate) + 4, number, "font-weight='bold'");
    out += label(400, 330 + 20 * static_cast<double>(&p - phases.data()),
                 fmt::format("{}  {}: {:.0f} tokens/s, {:.0f} % of its limit", number, p.name,
                             p.work.tokens / p.seconds, 100 * p.least_seconds(peaks) / p.seconds));
  }
  out += label(425, 460, "products for each byte that is read", "text-anchor='middle'");
  out += label(24, 240, "products a second", "text-anchor='middle' transform='rotate(-90 24 240)'");
  return out + "</svg>\n";
}

} // namespace troupe::cli
