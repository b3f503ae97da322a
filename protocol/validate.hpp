// What a request may ask for, in one place: the ZeroMQ gateway, HTTP, the command line and programs that link the
// library all call this, so that the same request is taken or refused everywhere, with the same sentence.
//
// Only what is true of every model is checked here. Whether a prompt fits the model's context and whether a token id
// is in its vocabulary is for those who know the model.
#pragma once

#include "protocol/error.hpp"
#include "protocol/messages.hpp"

namespace troupe {

/// `invalid_argument`, `limit_exceeded` or `malformed` (text that is not UTF-8); the sentence names the field as the
/// wire protocol does ("stop[2]", "messages[0].role").
expected<void> validate(const generate_request& request);

/// The sampling parameters alone, for who has no prompt yet.
expected<void> validate(const sampling_parameters& sampling);

/// `version_mismatch` unless the client speaks this version.
expected<void> check_version(const hello& greeting);

} // namespace troupe
