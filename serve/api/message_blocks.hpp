// The `content` of a message in Anthropic's shape: thoughts, text and tool calls, one after the other, and the events that tell
// of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "serve/api/answer_parts.hpp"
#include "serve/api/json_body.hpp"

namespace troupe::serve {

class message_blocks {
public:
  /// Takes an event by its type, and its members.
  using event_writer = std::function<void(const char* type, json members)>;

  void tell(const answer_part_list& parts, const event_writer& event);

  /// The answer has ended.
  void close(const event_writer& event);

  json list() const;

private:
  struct block {
    answer_part::kind kind; ///< content, reasoning or call
    std::string text;       ///< Of a call: its arguments.
    std::string id, name;   ///< Of a call.
  };

  void open(const answer_part& first, const event_writer& event);
  void extend(const std::string& text, const event_writer& event);
  static json block_json(const block& block);

  std::vector<block> blocks_;
  bool open_ = false; ///< The last block goes on.
};

} // namespace troupe::serve
