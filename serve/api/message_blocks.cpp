#include "serve/api/message_blocks.hpp"

#include <utility>

#include "serve/api/identity.hpp"

namespace troupe::serve {
namespace {

/// A model may write what is no JSON, or stop in the middle.
json input_of(const std::string& arguments) {
  auto input = parse_strict_json(arguments);
  if (!input || !input->is_object())
    return json::object();
  return std::move(*input);
}

} // namespace

json message_blocks::block_json(const block& block) {
  switch (block.kind) {
  case answer_part::kind::reasoning:
    return {{"type", "thinking"}, {"thinking", block.text}, {"signature", ""}};
  case answer_part::kind::call:
    return {{"type", "tool_use"}, {"id", block.id}, {"name", block.name}, {"input", input_of(block.text)}};
  default:
    return {{"type", "text"}, {"text", block.text}};
  }
}

json message_blocks::list() const {
  auto all = json::array();
  for (const auto& block : blocks_)
    all.push_back(block_json(block));
  return all;
}

void message_blocks::open(const answer_part& first, const event_writer& event) {
  const bool call = first.what == answer_part::kind::call;
  blocks_.push_back({first.what, {}, call ? random_id("toolu_") : "", call ? first.text : ""});
  open_ = true;
  event("content_block_start", {{"index", blocks_.size() - 1}, {"content_block", block_json(blocks_.back())}});
}

void message_blocks::extend(const std::string& text, const event_writer& event) {
  auto& block = blocks_.back();
  block.text += text;
  json delta = {{"type", "text_delta"}, {"text", text}};
  if (block.kind == answer_part::kind::reasoning)
    delta = {{"type", "thinking_delta"}, {"thinking", text}};
  if (block.kind == answer_part::kind::call)
    delta = {{"type", "input_json_delta"}, {"partial_json", text}};
  event("content_block_delta", {{"index", blocks_.size() - 1}, {"delta", std::move(delta)}});
}

void message_blocks::close(const event_writer& event) {
  if (std::exchange(open_, false))
    event("content_block_stop", {{"index", blocks_.size() - 1}});
}

void message_blocks::tell(const answer_part_list& parts, const event_writer& event) {
  for (const auto& part : parts) {
    if (part.what == answer_part::kind::arguments) {
      extend(part.text, event);
      continue;
    }
    const bool goes_on = open_ && part.what != answer_part::kind::call && blocks_.back().kind == part.what;
    if (!goes_on) {
      close(event);
      open(part, event);
    }
    if (part.what != answer_part::kind::call)
      extend(part.text, event);
  }
}

} // namespace troupe::serve
