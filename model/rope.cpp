#include <cmath>
#include <numbers>

#include "model/architecture.hpp"

namespace troupe {

namespace {

/// The pair whose wavelength makes `turns` turns within the original context (YaRN's correction dimension).
double pair_with_turns(const rope_parameters& rope, double turns) {
  const double wavelength = rope.original_context / (turns * 2 * std::numbers::pi);
  return rope.size * std::log(wavelength) / (2 * std::log(static_cast<double>(rope.base)));
}

/// YaRN: fast pairs keep their frequency, slow ones are interpolated, those between go over linearly.
void apply_yarn(const rope_parameters& rope, rope_frequencies& out) {
  const double last = rope.size / 2 - 1;
  const double low = std::max(0.0, std::floor(pair_with_turns(rope, rope.beta_fast)));
  const double high = std::min<double>(rope.size - 1, std::ceil(pair_with_turns(rope, rope.beta_slow)));
  for (double i = 0; i <= last; ++i) {
    const double ramp = std::min(1.0, std::max(0.0, (i - low) / std::max(0.001, high - low)));
    double& frequency = out.frequencies[static_cast<std::size_t>(i)];
    frequency = frequency / rope.factor * ramp + frequency * (1 - ramp);
  }
  out.magnitude = rope.attention_factor * (1 + 0.1 * std::log(static_cast<double>(rope.factor)));
}

} // namespace

rope_frequencies frequencies_of(const rope_parameters& rope, std::span<const float> factors) {
  rope_frequencies out;
  out.frequencies.resize(rope.size / 2);
  for (std::size_t i = 0; i < out.frequencies.size(); ++i) {
    out.frequencies[i] = std::pow(static_cast<double>(rope.base), -2.0 * static_cast<double>(i) / rope.size);
    if (!factors.empty())
      out.frequencies[i] /= factors[i];
    if (rope.scaling == rope_scaling::linear)
      out.frequencies[i] /= rope.factor;
  }
  if (rope.scaling == rope_scaling::yarn)
    apply_yarn(rope, out);
  return out;
}

rope_frequencies frequencies_of(const model_program& program, const gguf::file& file) {
  std::vector<float> factors;
  if (const auto* found =
        program.rope.frequency_factors.empty() ? nullptr : file.find_tensor(program.rope.frequency_factors)) {
    factors.resize(found->elements());
    gguf::dequantise(found->type, found->data, factors);
  }
  return frequencies_of(program.rope, factors);
}

} // namespace troupe
