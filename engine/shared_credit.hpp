// One request's credit, split among the sequences that generate its answers.
//
// The rule: a token of credit goes to the unfinished sequence that has been given the least so far, the lowest choice of
// equals; and what a sequence has not used when it ends goes to the others by the same rule. Credit once given to a
// sequence is not taken back while it goes on. So the sequences together never get more tokens than the client has
// granted, none of it is lost as long as any of them goes on, and a client that grants one token after the other lets
// all answers grow alike.
//
// Owner: the stream actor, one for each request. No actor, no clock.
#pragma once

#include <cstdint>
#include <vector>

#include "protocol/messages.hpp"

namespace troupe {

/// Credit that one sequence is to be given.
struct credit_share {
  std::uint32_t choice = 0;
  std::uint32_t tokens = 0; ///< `unlimited_credit`: no limit from now on.
  bool operator==(const credit_share&) const = default;
};

class shared_credit {
public:
  shared_credit() = default;

  /// Splits the credit that the request came with.
  shared_credit(std::uint32_t choices, std::uint32_t credit);

  /// What it may still generate; `unlimited_credit` if there is no limit.
  std::uint32_t unused_by(std::uint32_t choice) const {
    return unlimited_ ? unlimited_credit : static_cast<std::uint32_t>(shares_[choice].given - shares_[choice].used);
  }

  /// A token of this sequence was taken.
  void use(std::uint32_t choice) {
    if (!unlimited_ && shares_[choice].used < shares_[choice].given)
      ++shares_[choice].used;
  }

  /// More credit; saturates. Appends what is to be given to whom.
  void add(std::uint32_t tokens, std::vector<credit_share>& shares);

  /// A sequence gets no more tokens: what it has left goes to the others.
  void end(std::uint32_t choice, std::vector<credit_share>& shares);

private:
  void split(std::uint64_t tokens, std::vector<credit_share>& out);

  struct share {
    std::uint64_t given = 0, used = 0;
    bool ended = false;
  };
  std::vector<share> shares_; ///< By choice.
  bool unlimited_ = true;
};

} // namespace troupe
