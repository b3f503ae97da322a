// The routes of those who look on: the page and what its stage asks for, and Prometheus.
#pragma once

#include <memory>

#include "serve/http/probes.hpp"
#include "serve/observe/metrics.hpp"
#include "serve/observe/stage_view.hpp"

namespace troupe::serve {

struct views {
  std::shared_ptr<metrics> counts = std::make_shared<metrics>();
  std::shared_ptr<stage_view> stage = std::make_shared<stage_view>();

  observers all() const { return {counts, stage}; }
};

/// /, /stage and /metrics. The board must outlive the table.
void add_views(route_table& routes, status_board& board, const views& what);

} // namespace troupe::serve
