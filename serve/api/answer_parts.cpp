#include "serve/api/answer_parts.hpp"

#include <algorithm>

namespace troupe::serve {
namespace {

constexpr std::string_view opening_thought = "<think>";
constexpr std::string_view closing_thought = "</think>";
constexpr std::string_view opening_call = "<tool_call>";
constexpr std::string_view closing_call = "</tool_call>";
constexpr std::string_view python_tag = "<|python_tag|>";
constexpr std::string_view tool_calls = "[TOOL_CALLS]";
constexpr std::string_view space = " \t\r\n";

std::size_t count_space(std::string_view text) {
  return std::min(text.find_first_not_of(space), text.size());
}

std::string_view without_space_behind(std::string_view text) {
  const auto last = text.find_last_not_of(space);
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

enum class match { no, maybe, yes };

/// Whether `text` begins with `mark`, or is the beginning of it.
match match_mark(std::string_view text, std::string_view mark, bool at_end) {
  if (text.starts_with(mark))
    return match::yes;
  return !at_end && mark.starts_with(text) ? match::maybe : match::no;
}

/// How many bytes at the end of `text` may be space and the beginning of `mark`.
std::size_t held_back(std::string_view text, std::string_view mark) {
  for (auto length = std::min(text.size(), mark.size() - 1); length > 0; --length)
    if (mark.starts_with(text.substr(text.size() - length)))
      return text.size() - without_space_behind(text.substr(0, text.size() - length)).size();
  return text.size() - without_space_behind(text).size();
}

std::string_view mark_of(tool_format tools) {
  switch (tools) {
  case tool_format::hermes:
    return opening_call;
  case tool_format::llama3:
    return python_tag;
  case tool_format::mistral:
    return tool_calls;
  case tool_format::none:
    break;
  }
  return {};
}

} // namespace

std::optional<tool_format> tool_format_of(std::string_view name) {
  if (name == "none")
    return tool_format::none;
  if (name == "hermes" || name == "qwen")
    return tool_format::hermes;
  if (name == "llama3")
    return tool_format::llama3;
  if (name == "mistral")
    return tool_format::mistral;
  return std::nullopt;
}

std::optional<tool_format> tool_format_of_template(std::string_view source) {
  const auto has = [&](std::string_view text) { return source.find(text) != std::string_view::npos; };
  if (!has("tools"))
    return std::nullopt;
  if (has(opening_call))
    return tool_format::hermes;
  if (has(tool_calls))
    return tool_format::mistral;
  if (has(python_tag) || (has("ipython") && has("\"parameters\"")))
    return tool_format::llama3;
  return std::nullopt;
}

answer_splitter::answer_splitter(tool_format tools, reasoning_format reasoning)
    : tools_(tools), reasoning_(reasoning),
      place_(reasoning == reasoning_format::opened ? place::reasoning : place::start),
      drop_space_(reasoning == reasoning_format::opened) {}

void answer_splitter::feed(std::string_view text, answer_part_list& out) {
  if (place_ == place::content && tools_ == tool_format::none && !drop_space_)
    return emit(answer_part::kind::content, text, out);
  rest_ += text;
  while (step(false, out)) {
  }
}

void answer_splitter::finish(answer_part_list& out) {
  while (step(true, out)) {
  }
}

bool answer_splitter::step(bool at_end, answer_part_list& out) {
  if (rest_.empty() && !(at_end && place_ == place::call))
    return false;
  switch (place_) {
  case place::start:
    return start(at_end);
  case place::reasoning:
    return think(at_end, out);
  case place::content:
    return say(at_end, out);
  case place::call:
    return call(at_end, out);
  case place::after_call:
    return after_call(at_end);
  }
  return false;
}

bool answer_splitter::start(bool at_end) {
  const auto spaces = count_space(rest_);
  const auto text = std::string_view(rest_).substr(spaces);
  if (text.empty() && !at_end)
    return false;
  if (reasoning_ == reasoning_format::marked) {
    const auto found = match_mark(text, opening_thought, at_end);
    if (found == match::maybe)
      return false;
    reasoning_ = reasoning_format::none;
    if (found == match::yes) {
      rest_.erase(0, spaces + opening_thought.size());
      place_ = place::reasoning;
      drop_space_ = true;
      return true;
    }
  }
  if (tools_ == tool_format::llama3 || tools_ == tool_format::mistral) {
    const auto found = match_mark(text, mark_of(tools_), at_end);
    if (found == match::maybe)
      return false;
    if (found == match::yes) {
      rest_.erase(0, spaces);
      return begin_marked(mark_of(tools_), at_end);
    }
    const char first = tools_ == tool_format::llama3 ? '{' : '[';
    if (text.starts_with(first)) {
      const auto inner = 1 + count_space(text.substr(1));
      if (first == '[' && inner == text.size() && !at_end)
        return false;
      if (first == '{' || text.substr(inner).starts_with('{')) {
        marked_ = false;
        begin_call(spaces + (first == '{' ? 0 : inner));
        return true;
      }
    }
  }
  place_ = place::content;
  return true;
}

/// Gives out `rest_` up to a mark, which is taken away, or as far as it cannot be one. True where there was the mark.
bool answer_splitter::release(std::string_view mark, answer_part::kind what, bool at_end, answer_part_list& out) {
  if (drop_space_) {
    rest_.erase(0, count_space(rest_));
    if (rest_.empty())
      return false;
    drop_space_ = false;
  }
  const auto at = mark.empty() ? std::string::npos : rest_.find(mark);
  if (at != std::string::npos) {
    emit(what, without_space_behind(std::string_view(rest_).substr(0, at)), out);
    rest_.erase(0, at);
    return true;
  }
  const auto certain = at_end || mark.empty() ? rest_.size() : rest_.size() - held_back(rest_, mark);
  emit(what, std::string_view(rest_).substr(0, certain), out);
  rest_.erase(0, certain);
  return false;
}

bool answer_splitter::think(bool at_end, answer_part_list& out) {
  if (!release(closing_thought, answer_part::kind::reasoning, at_end, out))
    return false;
  rest_.erase(0, closing_thought.size());
  place_ = place::start;
  reasoning_ = reasoning_format::none;
  drop_space_ = true;
  return true;
}

bool answer_splitter::say(bool at_end, answer_part_list& out) {
  const auto mark = tools_ == tool_format::llama3 ? std::string_view() : mark_of(tools_);
  return release(mark, answer_part::kind::content, at_end, out) && begin_marked(mark, at_end);
}

/// `rest_` begins with the mark. Of Mistral's list the first object is waited for.
bool answer_splitter::begin_marked(std::string_view mark, bool at_end) {
  auto before = mark.size();
  if (tools_ == tool_format::mistral) {
    auto text = std::string_view(rest_).substr(before);
    auto inner = count_space(text);
    if (text.substr(inner).starts_with('['))
      inner += 1 + count_space(text.substr(inner + 1));
    if (inner == text.size() && !at_end)
      return false; // The mark is found again when more has come.
    before += inner;
  }
  marked_ = true;
  begin_call(before);
  return true;
}

void answer_splitter::begin_call(std::size_t before_object) {
  raw_ = rest_.substr(0, before_object);
  rest_.erase(0, before_object);
  reader_ = {};
  announced_ = has_arguments_ = false;
  place_ = place::call;
}

void answer_splitter::announce(answer_part_list& out) {
  announced_ = true;
  raw_.clear();
  drop_space_ = true;
  out.push_back({answer_part::kind::call, reader_.name(), calls_++});
}

bool answer_splitter::call(bool at_end, answer_part_list& out) {
  std::size_t used = 0;
  auto now = tool_call_reader::state::reading;
  while (used < rest_.size() && now == tool_call_reader::state::reading)
    now = reader_.feed(rest_[used++]);
  if (now == tool_call_reader::state::failed)
    --used; // What it failed by is not the call's.
  if (!announced_)
    raw_ += rest_.substr(0, used);
  rest_.erase(0, used);
  const bool certain = reader_.announced() && (marked_ || reader_.has_arguments());
  if (!announced_ && certain)
    announce(out);
  if (announced_) {
    const auto more = reader_.take_arguments();
    has_arguments_ = has_arguments_ || !more.empty();
    emit(answer_part::kind::arguments, more, out);
  }
  if (now == tool_call_reader::state::reading && !at_end)
    return false;
  announced_ ? end_call(out) : give_up_call(out);
  return true;
}

void answer_splitter::end_call(answer_part_list& out) {
  if (!has_arguments_)
    emit(answer_part::kind::arguments, "{}", out);
  place_ = place::after_call;
}

void answer_splitter::give_up_call(answer_part_list& out) {
  emit(answer_part::kind::content, raw_, out);
  drop_space_ = false;
  place_ = place::content;
}

bool answer_splitter::after_call(bool at_end) {
  const auto spaces = count_space(rest_);
  const auto text = std::string_view(rest_).substr(spaces);
  if (text.empty()) {
    if (at_end)
      rest_.clear();
    return false;
  }
  if (tools_ == tool_format::hermes) {
    const auto found = match_mark(text, closing_call, at_end);
    if (found == match::maybe)
      return false;
    if (found == match::yes)
      rest_.erase(0, spaces + closing_call.size());
  } else if (text[0] == ']' && tools_ == tool_format::mistral) {
    rest_.erase(0, spaces + 1);
  } else {
    const bool separated = text[0] == (tools_ == tool_format::mistral ? ',' : ';');
    const auto inner = separated ? 1 + count_space(text.substr(1)) : 0;
    if (inner == text.size() && !at_end)
      return false;
    if (text.substr(inner).starts_with('{') && (separated || tools_ == tool_format::llama3)) {
      begin_call(spaces + inner);
      return true;
    }
  }
  place_ = place::content;
  drop_space_ = true;
  return true;
}

void answer_splitter::emit(answer_part::kind what, std::string_view text, answer_part_list& out) const {
  if (text.empty())
    return;
  const auto call = what == answer_part::kind::arguments ? calls_ - 1 : 0;
  if (!out.empty() && out.back().what == what && out.back().call == call)
    out.back().text += text;
  else
    out.push_back({what, std::string(text), call});
}

} // namespace troupe::serve
