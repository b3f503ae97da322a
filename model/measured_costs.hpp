// What a token costs in a layer and in the head, measured where the model will run: what balance_layers cuts by.
#pragma once

#include <functional>

#include "model/backend.hpp"
#include "model/gguf/file.hpp"
#include "model/stages.hpp"

namespace troupe {

/// Makes a backend for a small part of the model, which needs a block of KV memory and one row.
using part_maker = std::function<expected<std::unique_ptr<backend>>(const model_program& part)>;

/// Milliseconds of a single row, medians of several, of the first layer and of the final norm with the logits (of a
/// part of the vocabulary, where that is large). Other layers, and the embedding of a token, are reckoned by the bytes
/// of weights that they read. Attention to earlier positions is left out: every layer has it alike. Most of the time
/// goes into loading what is measured. `whole`: not a rank's program; what ranks share, they share in all layers alike.
/// Of a model with one layer nothing is measured.
/// Errors: those of `make`, and of the backend.
expected<layer_costs> measure_costs(const gguf::file& file, const model_program& whole, const part_maker& make);

/// The same reckoned by the bytes of weights alone, for devices that only the workers may open. The unit is a byte.
layer_costs weigh_costs(const gguf::file& file, const model_program& whole);

} // namespace troupe
