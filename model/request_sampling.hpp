// What a client asks of sampling, in a model's token ids.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/sequence_sampling.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "protocol/error.hpp"
#include "protocol/messages.hpp"

namespace troupe {

/// Whether every token id in the parameters is in the vocabulary. Errors: invalid_argument, which names the field
/// ("stop_tokens[2]").
expected<void> check_vocabulary(const sampling_parameters& sampling, std::size_t vocabulary);

/// Each word as it is encoded at the beginning of a text and after a space, without spaces of its own in front. One
/// form only where the other ends with it, because then it is excluded too. Errors: invalid_argument (a word that is
/// encoded to nothing; "bad_words[0]").
expected<std::vector<std::vector<token_id>>> encode_bad_words(const tokenizer& tokens,
                                                              const std::vector<std::string>& words);

/// The parameters of one of the answers to a prompt. The prompt's logprobs are the first one's
/// affair; where answers are ranked each has the logprobs of its own tokens, asked for or not.
sequence_sampling sequence_sampling_of(const sampling_parameters& sampling,
                                       const std::vector<std::vector<token_id>>& bad_words,
                                       std::span<const token_id> model_end_tokens, std::uint32_t choice, bool ranked);

} // namespace troupe
