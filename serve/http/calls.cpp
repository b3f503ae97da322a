#include "serve/http/calls.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "serve/http/errors.hpp"

namespace troupe::serve {

running_calls::call_id running_calls::begin(api_call_ptr call, call_listener& listener,
                                            const request_origin& origin) {
  auto requests = call->take_requests();
  const auto id = next_id_;
  next_id_ += std::max<std::size_t>(requests.size(), 1);
  std::optional<std::uint32_t> stream;
  if (engine_)
    stream = engine_->choose_stream();
  running_call fresh;
  fresh.call = std::move(call);
  fresh.listener = &listener;
  fresh.stream = stream.value_or(0);
  fresh.ended.resize(requests.size());
  fresh.left = requests.size();
  calls_.emplace(id, std::move(fresh));
  if (requests.empty() || !stream) {
    post_([this, id, count = requests.size()] {
      std::vector<server_message> ends;
      for (std::size_t i = 0; i < count; ++i) {
        request_end end;
        end.id = id + i;
        end.reason = finish_reason::error;
        end.failure = {errc::unavailable, "The engine is stopping: try again later."};
        ends.push_back(std::move(end));
      }
      touched_.push_back(id);
      deliver(std::move(ends));
    });
    return id;
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].id = id + i;
    requests[i].origin = origin;
    if (requests.size() > 1)
      requests[i].origin.name += fmt::format(".{}", i);
    engine_->submit(*stream, std::move(requests[i]));
  }
  return id;
}

void running_calls::cancel_requests(table::iterator which) {
  const auto& [id, call] = *which;
  for (std::size_t i = 0; i < call.ended.size(); ++i)
    if (!call.ended[i] && engine_)
      engine_->cancel(call.stream, id + i);
}

void running_calls::abandon(call_id id) {
  const auto found = calls_.find(id);
  if (found == calls_.end())
    return;
  cancel_requests(found);
  calls_.erase(found);
}

void running_calls::pause(call_id id) {
  const auto found = calls_.find(id);
  if (found == calls_.end() || std::exchange(found->second.paused, true))
    return;
  const auto& call = found->second;
  for (std::size_t i = 0; i < call.ended.size(); ++i)
    if (!call.ended[i])
      engine_->pause(call.stream, id + i);
}

void running_calls::resume(call_id id) {
  const auto found = calls_.find(id);
  if (found == calls_.end() || !std::exchange(found->second.paused, false))
    return;
  const auto& call = found->second;
  for (std::size_t i = 0; i < call.ended.size(); ++i)
    if (!call.ended[i])
      engine_->resume(call.stream, id + i);
}

running_calls::table::iterator running_calls::find(request_id id) {
  auto after = calls_.upper_bound(id);
  if (after == calls_.begin())
    return calls_.end();
  --after;
  return id - after->first < after->second.ended.size() ? after : calls_.end(); // Otherwise it was abandoned.
}

void running_calls::give_up(table::iterator which, const std::exception& thrown) {
  cancel_requests(which);
  auto* listener = which->second.listener;
  calls_.erase(which);
  listener->fail(type_of(thrown));
}

void running_calls::take(token_delta&& delta) {
  const auto found = find(delta.id);
  if (found == calls_.end())
    return;
  auto& [id, call] = *found;
  touched_.push_back(id);
  try {
    call.call->take(delta.id - id, std::move(delta), call.out);
  } catch (const std::exception& thrown) {
    give_up(found, thrown);
  }
}

void running_calls::take(const request_end& end) {
  const auto found = find(end.id);
  if (found == calls_.end())
    return;
  auto& [id, call] = *found;
  const auto index = end.id - id;
  if (call.ended[index])
    return;
  touched_.push_back(id);
  call.ended[index] = true;
  --call.left;
  try {
    call.call->take(index, end, call.out);
  } catch (const std::exception& thrown) {
    return give_up(found, thrown);
  }
  if (call.left > 0 && call.call->failed() && !std::exchange(call.failed, true))
    end_others(found);
}

void running_calls::end_others(table::iterator which) {
  cancel_requests(which);
  const auto id = which->first;
  const auto ended = which->second.ended;
  for (std::size_t i = 0; i < ended.size(); ++i)
    if (!ended[i]) {
      request_end end;
      end.id = id + i;
      end.reason = finish_reason::cancelled;
      take(end); // It may be the last of the call.
    }
}

void running_calls::deliver(std::vector<server_message> messages) {
  for (auto& message : messages)
    if (auto* step = std::get_if<step_deltas>(&message)) {
      for (auto& delta : step->deltas)
        take(std::move(delta));
      for (const auto& end : step->ends)
        take(end);
    } else if (auto* delta = std::get_if<token_delta>(&message)) {
      take(std::move(*delta));
    } else if (const auto* end = std::get_if<request_end>(&message)) {
      take(*end);
    }
  settle_touched();
}

void running_calls::stream_lost(std::uint32_t stream, const error& why) {
  std::vector<server_message> ends;
  for (const auto& [id, call] : calls_)
    if (call.stream == stream)
      for (std::size_t i = 0; i < call.ended.size(); ++i)
        if (!call.ended[i]) {
          request_end end;
          end.id = id + i;
          end.reason = finish_reason::error;
          end.failure = why;
          ends.push_back(std::move(end));
        }
  deliver(std::move(ends));
}

void running_calls::settle_touched() {
  auto touched = std::exchange(touched_, {});
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  for (const auto id : touched)
    settle(id);
}

void running_calls::settle(call_id id) {
  const auto found = calls_.find(id);
  if (found == calls_.end())
    return;
  auto& call = found->second;
  auto* listener = call.listener;
  auto bytes = std::exchange(call.out, {});
  const bool appended = call.appended = call.appended || !bytes.empty();
  if (call.left > 0) {
    if (!bytes.empty())
      listener->send(std::move(bytes));
    return;
  }
  const auto done = std::move(call.call);
  calls_.erase(found);
  if (appended) {
    if (!bytes.empty())
      listener->send(std::move(bytes));
    return listener->end();
  }
  try {
    auto answer = done->whole();
    listener->finish(std::move(answer));
  } catch (const std::exception& thrown) {
    listener->fail(type_of(thrown));
  }
}

} // namespace troupe::serve
