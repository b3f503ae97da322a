#include "model/jinja/text.hpp"

#include <algorithm>

namespace troupe::jinja {

void text::append(std::string_view bytes, bool trusted) {
  if (bytes.empty())
    return;
  if (bytes_.empty())
    first_trusted_ = trusted;
  else if ((first_trusted_ == (flips_.size() % 2 == 0)) != trusted)
    flips_.push_back(bytes_.size());
  bytes_.append(bytes);
}

void text::append(const text& other, std::size_t begin, std::size_t end) {
  other.each_run(begin, end, [this](std::string_view run, bool trusted) { append(run, trusted); });
}

bool text::trusted_at(std::size_t offset) const {
  return first_trusted_ == (first_flip_after(offset) % 2 == 0);
}

std::size_t text::first_flip_after(std::size_t offset) const {
  return static_cast<std::size_t>(std::upper_bound(flips_.begin(), flips_.end(), offset) - flips_.begin());
}

text_parts text::parts() const {
  text_parts parts;
  each_run(0, size(), [&](std::string_view run, bool trusted) { parts.push_back({std::string(run), trusted}); });
  return parts;
}

} // namespace troupe::jinja
