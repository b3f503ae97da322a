#include "serve/api/response_items.hpp"

#include <utility>

#include "serve/api/identity.hpp"

namespace troupe::serve {
namespace {

json with(json place, const char* key, json value) {
  place[key] = std::move(value);
  return place;
}

std::string random_item_id(answer_part::kind kind) {
  switch (kind) {
  case answer_part::kind::reasoning:
    return random_id("rs_");
  case answer_part::kind::call:
    return random_id("fc_");
  default:
    return random_id("msg_");
  }
}

} // namespace

json response_items::part_json(const item& item, const std::string& text) {
  if (item.kind == answer_part::kind::reasoning)
    return {{"type", "reasoning_text"}, {"text", text}};
  return {{"type", "output_text"}, {"text", text}, {"annotations", json::array()}, {"logprobs", json::array()}};
}

json response_items::item_json(const item& item) {
  switch (item.kind) {
  case answer_part::kind::call:
    return {{"id", item.id},           {"type", "function_call"}, {"status", item.status},
            {"call_id", item.call_id}, {"name", item.name},       {"arguments", item.text}};
  case answer_part::kind::reasoning:
    return {{"id", item.id},
            {"type", "reasoning"},
            {"summary", json::array()},
            {"content", item.text.empty() ? json::array() : json::array({part_json(item, item.text)})},
            {"status", item.status}};
  default:
    return {{"id", item.id},
            {"type", "message"},
            {"role", "assistant"},
            {"status", item.status},
            {"content", item.status == "in_progress" ? json::array() : json::array({part_json(item, item.text)})}};
  }
}

json response_items::list() const {
  auto all = json::array();
  for (const auto& item : items_)
    all.push_back(item_json(item));
  return all;
}

/// Of the last item.
json response_items::place_of() const {
  json place = {{"item_id", items_.back().id}, {"output_index", items_.size() - 1}};
  if (items_.back().kind != answer_part::kind::call)
    place["content_index"] = 0;
  return place;
}

void response_items::open(const answer_part& first, const event_writer& event) {
  const bool call = first.what == answer_part::kind::call;
  items_.push_back(
    {first.what, random_item_id(first.what), {}, call ? random_id("call_") : "", call ? first.text : ""});
  open_ = true;
  event("output_item.added", {{"output_index", items_.size() - 1}, {"item", item_json(items_.back())}});
  if (!call)
    event("content_part.added", with(place_of(), "part", part_json(items_.back(), "")));
}

void response_items::extend(const std::string& text, const event_writer& event) {
  auto& item = items_.back();
  item.text += text;
  auto delta = with(place_of(), "delta", text);
  if (item.kind == answer_part::kind::call)
    return event("function_call_arguments.delta", std::move(delta));
  if (item.kind == answer_part::kind::reasoning)
    return event("reasoning_text.delta", std::move(delta));
  event("output_text.delta", with(std::move(delta), "logprobs", json::array()));
}

void response_items::close(bool whole, const event_writer& event) {
  if (!std::exchange(open_, false))
    return;
  auto& item = items_.back();
  item.status = whole ? "completed" : "incomplete";
  if (item.kind == answer_part::kind::call) {
    event("function_call_arguments.done", with(with(place_of(), "name", item.name), "arguments", item.text));
  } else {
    auto done = with(place_of(), "text", item.text);
    if (item.kind == answer_part::kind::content)
      done["logprobs"] = json::array();
    event(item.kind == answer_part::kind::content ? "output_text.done" : "reasoning_text.done", std::move(done));
    event("content_part.done", with(place_of(), "part", part_json(item, item.text)));
  }
  event("output_item.done", {{"output_index", items_.size() - 1}, {"item", item_json(item)}});
}

void response_items::tell(const answer_part_list& parts, const event_writer& event) {
  for (const auto& part : parts) {
    if (part.what == answer_part::kind::arguments) {
      extend(part.text, event);
      continue;
    }
    const bool goes_on = open_ && part.what != answer_part::kind::call && items_.back().kind == part.what;
    if (!goes_on) {
      close(true, event); // What follows it shows that it is complete.
      open(part, event);
    }
    if (part.what != answer_part::kind::call)
      extend(part.text, event);
  }
}

void response_items::end(bool whole, const event_writer& event) {
  if (items_.empty())
    open({}, event);
  close(whole, event);
}

} // namespace troupe::serve
