#include "serve/api/chunks.hpp"

#include "serve/api/errors.hpp"

namespace troupe::serve {

void write_event(std::string_view name, std::string_view data, std::string& out) {
  if (!name.empty())
    out.append("event: ").append(name).append("\n");
  out.append("data: ").append(data).append("\n\n");
}

chunk_writer::chunk_writer(const call_identity& identity, std::string_view object, bool include_usage)
    : include_usage_(include_usage) {
  const json common = {{"id", identity.id},
                       {"object", object},
                       {"created", identity.created},
                       {"model", identity.model},
                       {"system_fingerprint", identity.fingerprint}};
  head_ = to_text(common);
  head_.back() = ','; // More members follow.
  head_ += "\"choices\":[";
  tail_ = include_usage ? "],\"usage\":null}" : "]}";
}

void chunk_writer::choice(const json& choice, std::string& out) {
  begun_ = true;
  write_event("", head_ + to_text(choice) + tail_, out);
}

void chunk_writer::finish(const call_progress& progress, std::string& out) {
  if (include_usage_)
    write_event("", head_ + "],\"usage\":" + to_text(usage_json(progress)) + "}", out);
  write_event("", "[DONE]", out);
}

void chunk_writer::fail(const error& failure, std::string& out) {
  if (begun_)
    write_event("error", openai_error(failure).body, out);
}

void chunk_writer::finish_failed(std::string& out) const {
  if (begun_)
    write_event("", "[DONE]", out);
}

} // namespace troupe::serve
