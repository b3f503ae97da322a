// Requests in the log: one line when one is taken, one when it has ended.
#pragma once

#include "actors/observer.hpp"
#include "protocol/log.hpp"

namespace troupe::serve {

class request_log final : public observer {
public:
  static constexpr std::size_t most_prompt_bytes = 4096; ///< Of a prompt that is shown.

  /// prompts: they are shown, at the level `debug`. Answers never are.
  request_log(logger log, bool prompts) : log_(std::move(log)), prompts_(prompts) {}

  void taken(const generate_request& request, std::uint64_t connection) override;
  void ended(const request_record& request) override;
  void refused(const request_record& request) override;

private:
  void say_end(const request_record& request, log_level level, std::string_view event, const char* what) const;

  logger log_;
  bool prompts_;
};

} // namespace troupe::serve
