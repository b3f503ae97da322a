// The smallest API there is: {"prompt": text, "max_tokens": number, "stream": bool, "n": number} to the model's text as it
// comes, `n` requests in one call.
#pragma once

#include <functional>

#include <nlohmann/json.hpp>

#include "serve/http/errors.hpp"
#include "serve/http/routes.hpp"

namespace troupe::test {

class echo_call : public serve::api_call {
public:
  explicit echo_call(const nlohmann::json& body) : streams_(body.value("stream", false)) {
    requests_.resize(body.value("n", std::size_t{1}));
    left_ = requests_.size();
    for (auto& request : requests_) {
      request.prompt = body.value("prompt", std::string());
      request.sampling.max_tokens = body.value("max_tokens", 16u);
      request.sampling.ignore_eos = true;
    }
  }

  std::vector<generate_request> take_requests() override { return std::move(requests_); }
  bool streams() const override { return streams_; }

  void take(std::size_t, token_delta&& delta, std::string& out) override {
    if (delta.text == "throw")
      throw std::runtime_error("as the test wanted");
    (streams_ ? out : text_) += delta.text;
    wrote_ = wrote_ || !out.empty();
  }

  void take(std::size_t, const request_end& end, std::string& out) override {
    if (end.reason == finish_reason::error && !failure_)
      failure_ = end.failure;
    if (--left_ == 0 && streams_ && (wrote_ || !failure_))
      out += "[DONE]";
  }

  bool failed() const override { return failure_.has_value(); }

  serve::http_answer whole() override {
    if (failure_)
      return serve::openai_error(*failure_);
    serve::http_answer answer;
    answer.body = text_;
    return answer;
  }

private:
  std::vector<generate_request> requests_;
  bool streams_;
  std::size_t left_ = 0;
  bool wrote_ = false;
  std::string text_;
  std::optional<error> failure_;
};

/// Called when a body is read; what a test sets it must take back.
inline std::function<void()> while_reading;

inline serve::api_table echo_api() {
  const auto echo = [](std::string_view body) -> serve::api_outcome {
    if (while_reading)
      while_reading();
    const auto parsed = nlohmann::json::parse(body, nullptr, false);
    if (!parsed.is_object())
      return {serve::openai_error({errc::malformed, "The body must be a JSON object."}), nullptr};
    if (parsed.contains("throw"))
      throw std::runtime_error("as the test wanted");
    return {{}, std::make_unique<echo_call>(parsed)};
  };
  return {{"/v1/echo", {echo}}, {"/v1/messages", {echo}}};
}

} // namespace troupe::test
