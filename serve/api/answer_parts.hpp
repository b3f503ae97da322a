// Generated text taken apart: what the model thought, what it says, and which tools it calls.
//
// A pure state machine over characters: put together, what comes out does not depend on how the text was cut into
// pieces. Text is held back only while it may be the beginning of a mark, or space before one.
//
// Reasoning is what stands between <think> and </think> at the beginning of an answer; a template that opens it in the
// prompt leaves the first mark out. Spaces around these marks and around calls are dropped.
//
// Calls, in the form that the model has learned:
//   hermes   <tool_call>{"name": ..., "arguments": {...}}</tool_call>, anywhere, several times. (Qwen, Hermes.)
//   llama3   {"name": ..., "parameters": {...}} as the whole answer, with or without <|python_tag|> before it;
//            several with ';' or line breaks between them.
//   mistral  [TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...] at the end. The mark is a control token, which
//            mostly gives no text, so such a list counts at the beginning of an answer without it, too.
// What begins like a call and turns out to be none before it has a name and arguments is text.
//
// Sources: the chat templates of Qwen2.5, Hermes 2 Pro, Llama 3.1 and Mistral 7B v0.3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/tool_call_reader.hpp"

namespace troupe::serve {

enum class tool_format : std::uint8_t { none, hermes, llama3, mistral };

/// "hermes" and so on; nothing for a name that there is not.
std::optional<tool_format> tool_format_of(std::string_view name);

/// What the template says of the model: nothing where it has no place for tools or its form is not known.
std::optional<tool_format> tool_format_of_template(std::string_view source);

enum class reasoning_format : std::uint8_t {
  none,
  marked, ///< <think> ... </think>
  opened, ///< The prompt ends with <think>.
};

struct answer_part {
  enum class kind : std::uint8_t { content, reasoning, call, arguments };

  kind what = kind::content;
  std::string text;       ///< Of a call: its name. Of arguments: the next piece of their JSON.
  std::uint32_t call = 0; ///< Which call of the answer, from 0.
  bool operator==(const answer_part&) const = default;
};

using answer_part_list = std::vector<answer_part>;

class answer_splitter {
public:
  answer_splitter() = default; ///< All is content.
  answer_splitter(tool_format tools, reasoning_format reasoning);

  /// Appends what is certain now; neighbours of one kind are one part.
  void feed(std::string_view text, answer_part_list& out);

  /// The answer is at its end: what was held back.
  void finish(answer_part_list& out);

  std::uint32_t calls() const { return calls_; }
  bool thinking() const { return place_ == place::reasoning; }
  bool at_start() const { return place_ == place::start; } ///< Where a thought may still begin.

private:
  enum class place : std::uint8_t {
    start, ///< Nothing but space has come, or it follows the reasoning.
    reasoning,
    content,
    call,       ///< Within the object.
    after_call, ///< Where another call, a closing mark or text may come.
  };

  // Each goes on by as much of `rest_` as is certain; false: more must come first.
  bool step(bool at_end, answer_part_list& out);
  bool start(bool at_end);
  bool think(bool at_end, answer_part_list& out);
  bool say(bool at_end, answer_part_list& out);
  bool call(bool at_end, answer_part_list& out);
  bool after_call(bool at_end);

  bool release(std::string_view mark, answer_part::kind what, bool at_end, answer_part_list& out);
  bool begin_marked(std::string_view mark, bool at_end);
  void begin_call(std::size_t before_object);
  void announce(answer_part_list& out);
  void end_call(answer_part_list& out);
  void give_up_call(answer_part_list& out);
  void emit(answer_part::kind what, std::string_view text, answer_part_list& out) const;

  tool_format tools_ = tool_format::none;
  reasoning_format reasoning_ = reasoning_format::none;
  place place_ = place::content;
  std::string rest_;        ///< Came, and is not certain yet.
  bool drop_space_ = false; ///< Of what comes next in a text.
  std::string raw_;         ///< A call since its mark, until it is announced.
  bool marked_ = false;     ///< The call has a mark of its own; otherwise it may be text that looks like one.
  bool announced_ = false;
  bool has_arguments_ = false;
  tool_call_reader reader_;
  std::uint32_t calls_ = 0;
};

} // namespace troupe::serve
