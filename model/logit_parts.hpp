// The logits of one rank and those of the others: which it computes itself, and how it gets the rest where it is wanted.
//
// Owner: a backend of one of several ranks; one thread at a time. Without ranks to share with, all of it does nothing.
#pragma once

#include <span>
#include <vector>

#include "model/backend.hpp"

namespace troupe {

class logit_parts {
public:
  /// Of the program of a rank, or of a whole model.
  explicit logit_parts(const model_program& program);

  /// Makes room for so many rows.
  void reserve(std::uint32_t rows);

  const vocabulary_share& own() const { return own_; }
  bool shared() const { return own_.ranks > 1; }

  /// Fills in what other ranks have of the logits, [rows, vocabulary], in all rows but those whose indices are in `own_only`
  /// (ascending). Where these are all, nobody is asked. Errors: those of the group.
  expected<void> gather(std::span<float> logits, std::span<const std::uint32_t> own_only, communicator& group,
                        communicator::deadline until);

  std::size_t bytes() const { return (mine_.size() + all_.size()) * sizeof(float); }

private:
  vocabulary_share own_;
  std::vector<std::uint32_t> cuts_; ///< Where each rank's part begins, and the last one's end.
  std::uint32_t widest_ = 0;        ///< Parts differ; in what travels, rows have room for the largest.
  std::vector<std::uint32_t> rows_; ///< That are gathered.
  std::vector<float> mine_, all_;   ///< [rows, widest], and [ranks] of these.
};

} // namespace troupe
