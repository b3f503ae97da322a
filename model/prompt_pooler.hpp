// Makes embeddings of hidden states, as the steps of a worker bring them.
//
// The same prompt gives the same bits whatever its chunks were: a mean is added up row by row in float64, in the order
// of the positions. A sequence that joins again begins anew: it is computed again from its first token, since what is
// pooled by `mean` never hits the cache.
//
// Owner: the worker of a last stage (or of the only one); one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/batch_state.hpp"
#include "engine/step.hpp"

namespace troupe {

class prompt_pooler {
public:
  void join(const sequence_joined& joined);

  /// Takes the hidden states of a step's rows in: [rows.hidden_rows, width]. Adds the embeddings of prompts that end
  /// with it to the result, scaled to length 1; or a failure, where a hidden state is no number or all of it is 0.
  void pool(const batch_state::rows& rows, std::span<const float> hidden, std::size_t width, step_result& result);

private:
  std::vector<std::vector<double>> sums_; ///< By slot: [width], of the prompt's rows so far.
};

} // namespace troupe
