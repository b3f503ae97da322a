// The `output` of a response: thoughts, messages and function calls, one after the other, and the events that tell of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "serve/api/answer_parts.hpp"
#include "serve/api/json_body.hpp"

namespace troupe::serve {

class response_items {
public:
  /// Takes an event by its type, without "response.", and its members.
  using event_writer = std::function<void(const std::string& type, json members)>;

  void tell(const answer_part_list& parts, const event_writer& event);

  /// The answer has ended. One without any text has a message, too.
  void end(bool whole, const event_writer& event);

  /// The answer has failed: only what is open is closed.
  void give_up(const event_writer& event) { close(false, event); }

  json list() const;

private:
  struct item {
    answer_part::kind kind; ///< content, reasoning or call
    std::string id, text;   ///< Of a call: its arguments.
    std::string call_id, name;
    std::string_view status = "in_progress";
  };

  void open(const answer_part& first, const event_writer& event);
  void extend(const std::string& text, const event_writer& event);
  void close(bool whole, const event_writer& event);
  static json item_json(const item& item);
  static json part_json(const item& item, const std::string& text);
  json place_of() const;

  std::vector<item> items_;
  bool open_ = false; ///< The last item goes on.
};

} // namespace troupe::serve
