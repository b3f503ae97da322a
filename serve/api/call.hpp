// One HTTP request's work, between those who know sockets (serve/http) and those who know JSON (serve/api).
//
// A call is made of a request's body and belongs to one thread. Whoever runs it submits its engine requests, hands it
// what the engine says of them, and sends what it gives.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/model.hpp"
#include "protocol/messages.hpp"

namespace troupe::serve {

/// What is answered to one HTTP request, where it is not a stream.
struct http_answer {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::uint32_t retry_after_ms = 0; ///< Over 0: said in a Retry-After header, in whole seconds, rounded up.
};

/// What the API must know of the server that it speaks for.
struct api_context {
  std::shared_ptr<const model> source;
  std::string model_name;           ///< What /v1/models says; a request that names another gets 404.
  std::vector<std::string> aliases; ///< Names that are taken for it, too.
  std::uint32_t context_length = 0; ///< Prompt and answer together, in tokens.
  std::int64_t started = 0;         ///< Seconds since 1970.
  std::string tool_format;          ///< "hermes", "llama3", "mistral" or "none"; empty: by the model's chat template.
};

class api_call {
public:
  virtual ~api_call() = default;

  /// What the engine is asked, in this order; taken out once. The id of each is its index, and whoever runs the call
  /// gives it another. Credit is unlimited: who sends the answer grants less.
  virtual std::vector<generate_request> take_requests() = 0;

  /// The answer is a stream of server-sent events, not one body.
  virtual bool streams() const = 0;

  /// What the engine says of a request, by its index. A stream appends the bytes that are to be sent now to `out`.
  virtual void take(std::size_t request, token_delta&& delta, std::string& out) = 0;

  /// The one end of a request. With that of the last request a stream appends its end, too ("data: [DONE]").
  virtual void take(std::size_t request, const request_end& end, std::string& out) = 0;

  /// A request has ended in a way that makes the others useless: whoever runs the call cancels them, and tells it that they
  /// have ended.
  virtual bool failed() const { return false; }

  /// When all requests have ended: the answer, or the error that the call has ended with. Of a stream it is asked only
  /// where nothing was appended yet, so that an error has its HTTP status.
  virtual http_answer whole() = 0;
};

using api_call_ptr = std::unique_ptr<api_call>;

/// Either an answer at once (an error, or what needs no engine), or work for it.
struct api_outcome {
  http_answer answer; ///< Where `call` is null.
  api_call_ptr call;
};

} // namespace troupe::serve
