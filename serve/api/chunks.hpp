// The server-sent events of a streamed completion or chat.
#pragma once

#include <string>
#include <string_view>

#include "protocol/messages.hpp"
#include "serve/api/identity.hpp"
#include "serve/api/json_body.hpp"
#include "serve/api/progress.hpp"

namespace troupe::serve {

/// What all chunks of a call have in common is written once, and copied for each.
class chunk_writer {
public:
  /// `object`: "chat.completion.chunk". With `include_usage` each chunk has a `usage`, null but in the last.
  chunk_writer(const call_identity& identity, std::string_view object, bool include_usage);

  /// A chunk with one choice.
  void choice(const json& choice, std::string& out);

  /// The last events of a call that went well.
  void finish(const call_progress& progress, std::string& out);

  /// The call went wrong. Where nothing was written yet nothing is written now, for HTTP can still say it.
  void fail(const error& failure, std::string& out);

  /// All requests of a call that went wrong have ended.
  void finish_failed(std::string& out) const;

private:
  std::string head_, tail_;
  bool include_usage_;
  bool begun_ = false;
};

/// "data: {...}", with a line `event: NAME` before it where there is a name.
void write_event(std::string_view name, std::string_view data, std::string& out);

} // namespace troupe::serve
