// What a server sends: single messages, and all that goes to one client at once.
#include "protocol/codec.hpp"
#include "protocol/server_tables.hpp"

namespace troupe {

namespace {

using detail::logprob_columns;
using detail::wire_writer;

/// How much of a frame's limits a message takes: about so many bytes, and at most so many values.
struct share {
  std::size_t bytes = 0;
  std::size_t values = 0;
};

share share_of(const token_delta& delta) {
  share result{64 + delta.text.size() + 5 * delta.token_ids.size(), 6};
  for (const auto* entries : {&delta.logprobs, &delta.prompt_logprobs})
    if (!entries->empty()) {
      result.bytes += 64 + entries->size() * (15 + 10 * logprob_columns{*entries}.width());
      result.values += 6;
    }
  return result;
}

share share_of(const request_end& end) {
  return {512 + end.failure.message.size() + 320 * end.choices.size() + 5 * end.embedding.size(),
          16 + 6 * end.choices.size()};
}

template <class Message>
void write_all(wire_writer& out, const std::vector<const Message*>& messages) {
  out.array(messages.size());
  for (const Message* each : messages)
    detail::write_map(out, *each);
}

} // namespace

std::string encode(const server_message& message) {
  return detail::encode_any(message);
}

bool delivery_encoder::take(std::size_t bytes, std::size_t values) {
  const bool fits = bytes_ + bytes <= max_step_bytes && values_ + values <= max_frame_values - 16;
  if (!fits && !(deltas_.empty() && ends_.empty()))
    return false;
  bytes_ += bytes;
  values_ += values;
  return true;
}

bool delivery_encoder::take(const token_delta& delta) {
  const share more = share_of(delta);
  if (!take(more.bytes, more.values))
    return false;
  deltas_.push_back(&delta);
  return true;
}

bool delivery_encoder::take(const request_end& end) {
  const share more = share_of(end);
  if (!take(more.bytes, more.values))
    return false;
  ends_.push_back(&end);
  return true;
}

bool delivery_encoder::take(const step_deltas& step) {
  for (; within_ < step.deltas.size(); ++within_)
    if (!take(step.deltas[within_]))
      return false;
  for (; within_ < step.deltas.size() + step.ends.size(); ++within_)
    if (!take(step.ends[within_ - step.deltas.size()]))
      return false;
  return true;
}

/// Takes what comes next of steps, as much as one frame should have.
void delivery_encoder::collect() {
  deltas_.clear();
  ends_.clear();
  bytes_ = values_ = 0;
  for (; !left_.empty(); left_ = left_.subspan(1), within_ = 0) {
    const server_message& next = left_.front();
    bool taken = false;
    if (const auto* step = std::get_if<step_deltas>(&next))
      taken = take(*step);
    else if (const auto* delta = std::get_if<token_delta>(&next))
      taken = take(*delta);
    else if (const auto* end = std::get_if<request_end>(&next))
      taken = take(*end);
    if (!taken)
      return;
  }
}

std::optional<std::string_view> delivery_encoder::next() {
  collect();
  wire_writer out(storage_);
  if (deltas_.size() + ends_.size() > 1) {
    out.map(1 + !deltas_.empty() + !ends_.empty());
    out.name("type");
    out.name("step_deltas");
    if (!deltas_.empty()) {
      out.name("deltas");
      write_all(out, deltas_);
    }
    if (!ends_.empty()) {
      out.name("ends");
      write_all(out, ends_);
    }
  } else if (!deltas_.empty()) {
    write_frame(out, *deltas_.front());
  } else if (!ends_.empty()) {
    write_frame(out, *ends_.front());
  } else if (!left_.empty()) {
    std::visit([&](const auto& each) { write_frame(out, each); }, left_.front());
    left_ = left_.subspan(1);
  } else {
    return {};
  }
  return out.written();
}

} // namespace troupe
