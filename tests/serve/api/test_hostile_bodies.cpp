// Bodies that were good once: whatever is changed in them, a body is taken or refused with a 4xx. TROUPE_FUZZ_COUNT says
// how many of each (default 500).
#include "tests/serve/api/support.hpp"

#include <random>

#include "protocol/validate.hpp"
#include "tests/support/number_from.hpp"

using namespace troupe;
using namespace troupe::test;

BOOST_AUTO_TEST_SUITE(hostile_bodies_suite)

namespace {

struct target {
  route call;
  std::vector<std::string> bodies;
};

std::vector<target> targets() {
  return {
    {&serve::completions,
     {R"({"model":"tiny","prompt":"Hello","max_tokens":5,"temperature":0.5,"stop":["a","b"],"stream":true,)"
      R"("stream_options":{"include_usage":true},"logit_bias":{"5":-100},"seed":7})",
      R"({"prompt":[[1,2,3],[4,5]],"n":2,"best_of":3,"logprobs":2,"echo":true,"top_k":5,"min_tokens":1})"}},
    {&serve::chat_completions,
     {R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"}]}],)"
      R"("logprobs":true,"top_logprobs":3,"n":2,"response_format":{"type":"text"},"metadata":{"a":"b"}})"}},
    {&serve::chat_completions,
     {R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"c",)"
      R"("type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c",)"
      R"("content":"y"}],"chat_template_kwargs":{"a":[1]},"documents":[{"t":"x"}],"stream":true})"}},
    {&serve::responses,
     {R"({"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}],"instructions":"b","text":{"format":)"
      R"({"type":"text"}},"metadata":{"a":"b"},"stream":true,"max_output_tokens":5})"}},
    {&serve::messages,
     {R"({"model":"tiny","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],)"
      R"("system":"s","stop_sequences":["x"],"metadata":{"user_id":"u"},"thinking":{"type":"disabled"}})"}},
  };
}

class mutator {
public:
  explicit mutator(std::uint32_t seed) : random_(seed) {}

  std::string operator()(std::string body) {
    for (auto count = 1 + pick(3); count > 0; --count)
      pick(2) ? change_bytes(body) : change_value(body);
    return body;
  }

private:
  std::size_t pick(std::size_t below) { return below ? random_() % below : 0; }

  void change_bytes(std::string& body) {
    static const std::string pieces[] = {"[",
                                         "]",
                                         "{",
                                         "}",
                                         ",",
                                         ":",
                                         "\"",
                                         "null",
                                         "true",
                                         "1e999",
                                         "-1",
                                         "\\u0000",
                                         "\xff",
                                         "\\ud83d",
                                         std::string(70, '['),
                                         "18446744073709551616",
                                         "\"\":",
                                         std::string(1, '\0'),
                                         "0.0000001"};
    const auto at = pick(body.size() + 1);
    switch (pick(4)) {
    case 0:
      body.insert(at, pieces[pick(std::size(pieces))]);
      break;
    case 1:
      body.erase(at, 1 + pick(8));
      break;
    case 2:
      body.insert(at, body.substr(pick(body.size() + 1), 1 + pick(40)));
      break;
    default:
      if (at < body.size())
        body[at] = static_cast<char>(pick(256));
    }
  }

  /// One value anywhere becomes another kind of value.
  void change_value(std::string& body) {
    auto parsed = json::parse(body, nullptr, false);
    if (parsed.is_discarded())
      return;
    const json values[] = {nullptr,
                           true,
                           false,
                           0,
                           -1,
                           1.5,
                           1e300,
                           -1e300,
                           18446744073709551615u,
                           "",
                           "x",
                           std::string(300, 'x'),
                           json::array(),
                           json::object(),
                           json::array({1, 2}),
                           json::array({"a", nullptr}),
                           {{"type", "text"}},
                           std::string("\0x", 2)};
    json* at = &parsed;
    while (at->is_structured() && !at->empty() && (at == &parsed || pick(3)))
      at = &*std::next(at->begin(), static_cast<std::ptrdiff_t>(pick(at->size())));
    *at = values[pick(std::size(values))];
    body = parsed.dump(-1, ' ', false, json::error_handler_t::replace);
  }

  std::mt19937 random_;
};

} // namespace

BOOST_AUTO_TEST_CASE(a_changed_body_is_taken_or_refused_with_a_4xx) {
  const auto count = number_from("TROUPE_FUZZ_COUNT", 500);
  for (const auto& target : targets())
    for (const auto& good : target.bodies) {
      BOOST_TEST(target.call(tiny_context(), good).call);
      for (std::uint32_t seed = 0; seed < count; ++seed) {
        const auto body = mutator(seed)(good);
        auto outcome = target.call(tiny_context(), body);
        if (!outcome.call) {
          const auto status = outcome.answer.status;
          BOOST_TEST((status >= 400 && status < 500), "seed " << seed << " status " << status << ": " << body);
          BOOST_TEST(json::accept(outcome.answer.body));
          continue;
        }
        for (const auto& request : outcome.call->take_requests())
          BOOST_TEST(validate(request).has_value(), body);
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
