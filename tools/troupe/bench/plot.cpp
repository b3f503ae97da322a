#include "tools/troupe/bench/plot.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace troupe::cli {

namespace {

constexpr double left = 80, right = 760, top = 50, bottom = 380;
constexpr const char* colours[] = {"#26c", "#b33", "#2a7", "#a6a", "#c80", "#555"};

/// A step of 1, 2 or 5 times a power of ten, such that about six reach `largest`.
double step_of(double largest) {
  const double power = std::pow(10, std::floor(std::log10(largest / 6)));
  for (double factor : {1, 2, 5})
    if (largest / (factor * power) <= 7)
      return factor * power;
  return 10 * power;
}

/// From 0 to a whole number of steps.
struct linear_axis {
  double step, most, from, to;
  linear_axis(double largest, double from, double to)
      : step(step_of(largest > 0 ? largest : 1)), most(step * std::ceil((largest > 0 ? largest : 1) / step)),
        from(from), to(to) {}
  double at(double value) const { return from + value / most * (to - from); }
};

std::string line(double x1, double y1, double x2, double y2, const char* style) {
  return fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' {}/>\n", x1, y1, x2, y2, style);
}

std::string words(double x, double y, const std::string& what, const char* style = "") {
  return fmt::format("<text x='{:.1f}' y='{:.1f}' {}>{}</text>\n", x, y, style, svg_escaped(what));
}

std::string grid(const linear_axis& x, const linear_axis& y) {
  std::string out;
  for (int i = 0; i * x.step <= x.most * 1.001; ++i) {
    const double at = x.at(i * x.step);
    out += line(at, y.from, at, y.to, "class='grid'");
    out += words(at, y.from + 18, fmt::format("{:g}", i * x.step), "text-anchor='middle'");
  }
  for (int i = 0; i * y.step <= y.most * 1.001; ++i) {
    const double at = y.at(i * y.step);
    out += line(x.from, at, x.to, at, "class='grid'");
    out += words(x.from - 8, at + 4, fmt::format("{:g}", i * y.step), "text-anchor='end'");
  }
  return out;
}

bool is_there(const plot_point& point) {
  return std::isfinite(point.x) && std::isfinite(point.y);
}

std::string curve(const plot_series& series, const linear_axis& x, const linear_axis& y, const char* colour) {
  std::string path, marks;
  bool pen_down = false;
  for (const auto& point : series.points) {
    if (!is_there(point)) {
      pen_down = false;
      continue;
    }
    path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", x.at(point.x), y.at(point.y));
    pen_down = true;
    if (series.dots)
      marks +=
        fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='4' fill='{}'/>\n", x.at(point.x), y.at(point.y), colour);
    if (!point.label.empty())
      marks += words(x.at(point.x) + 7, y.at(point.y) - 6, point.label);
  }
  return fmt::format("<path d='{}' fill='none' stroke='{}' stroke-width='2'/>\n", path, colour) + marks;
}

} // namespace

std::string svg_escaped(const std::string& text) {
  std::string out;
  for (char c : text)
    out += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

std::string to_svg(const plot& what) {
  double largest_x = 0, largest_y = 0;
  for (const auto& series : what.series)
    for (const auto& point : series.points)
      if (is_there(point)) {
        largest_x = std::max(largest_x, point.x);
        largest_y = std::max(largest_y, point.y);
      }
  const linear_axis x(largest_x, left, right), y(largest_y, bottom, top);
  std::string out =
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 800 450' font-family='sans-serif' "
    "font-size='13'>\n<style>.grid{stroke:#ddd}</style>\n<rect width='800' height='450' fill='white'/>\n";
  out += words(left, 24, what.title, "font-weight='bold'");
  out += grid(x, y);
  double name_at = left;
  for (std::size_t i = 0; i < what.series.size(); ++i) {
    const char* colour = colours[i % std::size(colours)];
    out += curve(what.series[i], x, y, colour);
    if (what.series.size() == 1)
      continue;
    out += fmt::format("<rect x='{:.1f}' y='34' width='12' height='4' fill='{}'/>\n", name_at, colour);
    out += words(name_at + 16, 42, what.series[i].name);
    name_at += 40 + 7.5 * static_cast<double>(what.series[i].name.size());
  }
  out += words((left + right) / 2, bottom + 44, what.x_name, "text-anchor='middle'");
  out += words(22, (top + bottom) / 2, what.y_name,
               fmt::format("text-anchor='middle' transform='rotate(-90 22 {:.0f})'", (top + bottom) / 2).c_str());
  return out + "</svg>\n";
}

std::string html_page(const std::string& title, const std::string& text, const std::vector<std::string>& pictures) {
  auto out = fmt::format("<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>{0}</title>\n"
                         "<style>body{{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}"
                         "svg{{width:100%;height:auto}}pre{{overflow-x:auto}}</style></head><body>\n"
                         "<h1>{0}</h1>\n<pre>{1}</pre>\n",
                         svg_escaped(title), svg_escaped(text));
  for (const auto& picture : pictures)
    out += picture;
  return out + "</body></html>\n";
}

} // namespace troupe::cli
