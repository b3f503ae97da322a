// Pictures for reports: lines over linear axes, as SVG that stands by itself.
#pragma once

#include <string>
#include <vector>

namespace troupe::cli {

struct plot_point {
  double x = 0, y = 0;
  std::string label; ///< Beside the point, if there is one.
};

struct plot_series {
  std::string name;
  std::vector<plot_point> points; ///< Joined in this order; a point that is not finite breaks the line.
  bool dots = true;               ///< Whether each point is marked.
};

struct plot {
  std::string title, x_name, y_name;
  std::vector<plot_series> series;
};

/// "<" and "&" as text of SVG or HTML has them.
std::string svg_escaped(const std::string& text);

/// Both axes begin at 0. A plot without points has its axes alone.
std::string to_svg(const plot& what);

/// A page of a title, of lines that are shown as they are, and of pictures.
std::string html_page(const std::string& title, const std::string& text, const std::vector<std::string>& pictures);

} // namespace troupe::cli
