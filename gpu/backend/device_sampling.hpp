// Sampling as a part of a step: what is asked of it, as words behind the step's own; the memory in which its kernels work; what came of it.
//
//   sampling.take(batch.sampling);            // its kind is known from here on
//   sampling.write(input.words, rows);        // copied to the device with the step's own words
//   sampling.queue(device, stream, words, logits);
//   ... copy result_bytes() from results() to pinned memory, and wait ...
//   read_choices(pinned, rows, batch.sampling, batch.chosen);
//
// There is a row for each of the step's rows of logits, so that tokens lie in the order of these.
//
// Words, from a multiple of four on: the rows, of 96 bytes each, and behind them edits, history and masks, counted from the rows' end and each
// beginning at a multiple of its own size. Kernels find these by the numbers in the rows, so all addresses are the same in every step of as many
// rows, however much a row brings: a graph of one step is good for all of its shape.
//
// Owner: a backend; one thread. Pure but for `queue`.
#pragma once

#include <span>
#include <vector>

#include "gpu/kernels/sampling_launch.hpp"
#include "model/sampling/requests.hpp"

namespace troupe::gpu {

/// What is launched; each does what the one before does, and more.
enum class sampling_kind : std::uint8_t {
  none,
  plain,   ///< Greedy, temperature and noise, min-p, top-k, and top-p of what these leave.
  changed, ///< Also bias, bans and penalties, and top-p by itself.
  judged,  ///< Also logprobs.
};

class device_sampling {
public:
  /// stride: floats from one row of logits to the next, a multiple of 4. most_rows: of any step.
  device_sampling(std::uint32_t vocabulary, std::uint32_t stride, std::uint32_t most_rows);

  /// Bytes of device memory that it wants for itself,
  std::size_t bytes() const;
  /// and where they are, aligned to 256.
  void place(address at) { at_ = at; }
  std::size_t words_room() const;   ///< Most bytes that `write` adds.
  std::size_t results_room() const; ///< Most bytes that there are to copy.

  /// Whether there is room for what rows bring: edits, history and masks.
  bool has_room_for(std::span<const sampling_request> asked) const;

  void take(std::span<const sampling_request> asked);
  sampling_kind kind() const { return kind_; }
  std::uint32_t rows() const { return rows_; } ///< As they were written last.
  /// rows: as many as the step has rows of logits; nobody asks for some of them.
  void write(std::vector<std::uint32_t>& words, std::uint32_t rows);
  /// words: where those that `write` has added to lie.
  expected<void> queue(runtime& device, stream_id on, address words, address logits) const;

  /// What it leaves on the device: first of all int32 [rows], the tokens.
  address results() const { return at_; }
  std::size_t result_bytes() const;

private:
  std::size_t mask_bytes() const { return std::size_t{blocks_} * sizeof(std::uint32_t); }

  std::uint32_t vocabulary_, blocks_, stride_, most_rows_;
  address at_ = 0;
  sampling_step step_;
  sampling_kind kind_ = sampling_kind::none;
  std::uint32_t rows_ = 0;
  std::uint32_t first_word_ = 0; ///< Of the rows, in the step's words.
};

/// results: in pinned memory. rows, asked: as they were written and taken.
void read_choices(address results, std::uint32_t rows, std::span<const sampling_request> asked,
                  std::span<chosen_token> chosen);

} // namespace troupe::gpu
