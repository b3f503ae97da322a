// A server's own tokenizer, as vLLM, Troupe and llama-server offer it.
#pragma once

#include <memory>

#include "tools/troupe/bench/http_exchange.hpp"
#include "tools/troupe/bench/text_codec.hpp"

namespace troupe::cli {

/// By /tokenize and /detokenize. Its ordinary tokens are those of a text of random words. `server` outlives it. Errors:
/// unsupported (the server has neither), those of `exchange`.
expected<std::unique_ptr<text_codec>> make_server_codec(const server_access& server, const std::string& model);

} // namespace troupe::cli
