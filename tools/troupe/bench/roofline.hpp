// Where the phases of a model stand on this machine, against what the machine can do at most.
// Source: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model", CACM 52 (2009).
#pragma once

#include <string>
#include <vector>

#include "cpu/peaks.hpp"
#include "model/backend.hpp"

namespace troupe::cli {

/// What one pass of a phase needs, whoever computes it.
struct phase_work {
  double tokens = 0;
  double byte_products = 0;  ///< Of quantised weights and activations; an activation of two bytes counts as two.
  double float_products = 0; ///< Attention's, and those of weights that are not quantised.
  double products() const { return byte_products + float_products; }
  double bytes = 0; ///< Weights, once, and the keys and values of all that is attended to.
};

struct phase {
  std::string name;                                   ///< "prefill 512", "decode 1", ...
  std::uint32_t sequences = 1, rows = 1, context = 0; ///< Rows of each sequence, after `context` tokens.
  phase_work work;
  double seconds = 0; ///< Of one pass: the median of several.

  // The least time that the machine's limits allow for a pass.
  double computing_seconds(const cpu::machine_peaks& peaks) const;
  double reading_seconds(const cpu::machine_peaks& peaks) const;
  double least_seconds(const cpu::machine_peaks& peaks) const; ///< The longer of the two.
};

/// The work of one pass of `sequences` times `rows` rows after `context` tokens.
phase_work work_of(const model_program& program, const gguf::file& file, std::uint64_t weight_bytes,
                   std::uint32_t sequences, std::uint32_t rows, std::uint32_t context);

/// Prefill of 512, and decode of 1, 8 and 32 sequences; each phase is measured `repeat` times. The backend has room for
/// 512 rows, 32 rows of logits and `roofline_blocks` blocks. tell: after each of the `phase_rounds`, how many are done.
std::vector<phase> measure_phases(backend& on, const model_program& program, const gguf::file& file, unsigned repeat,
                                  const std::function<void(std::size_t)>& tell);
std::size_t phase_rounds(unsigned repeat);
inline constexpr std::uint32_t roofline_blocks = 32 * (64 + 32) / tokens_per_block;

std::string roofline_text(const std::string& machine, const cpu::machine_peaks& peaks,
                          const std::vector<phase>& phases);
/// {"machine": ..., "peaks": {...}, "phases": [...]}
std::string roofline_json(const std::string& machine, const cpu::machine_peaks& peaks,
                          const std::vector<phase>& phases);
/// A picture: products a second over products for each byte read, both logarithmic.
std::string roofline_svg(const std::string& machine, const cpu::machine_peaks& peaks,
                         const std::vector<phase>& phases);

} // namespace troupe::cli
