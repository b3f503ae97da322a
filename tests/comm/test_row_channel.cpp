// Rows from one process to another, with a pipe for the messages.
#include <boost/test/unit_test.hpp>

#include <optional>

#include <sys/wait.h>
#include <unistd.h>

#include "comm/row_channel.hpp"

using namespace troupe;

BOOST_AUTO_TEST_SUITE(row_channels)

namespace {

constexpr row_channel_shape shape{.slots = 3, .max_rows = 7, .width = 5};

float value_of(std::uint64_t step, std::size_t index) {
  return static_cast<float>(step * 1000 + index);
}

bool has_rows_of(const row_channel& channel, std::uint64_t step) {
  const auto rows = channel.rows_of(step, 1 + step % shape.max_rows);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] != value_of(step, i))
      return false;
  return true;
}

void write_rows_of(const row_channel& channel, std::uint64_t step) {
  const auto rows = channel.rows_of(step, 1 + step % shape.max_rows);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = value_of(step, i);
}

/// A pipe whose messages are numbers of steps.
struct messages {
  int ends[2];
  messages() { BOOST_REQUIRE(pipe(ends) == 0); }
  ~messages() {
    close(ends[0]);
    close(ends[1]);
  }
  void send(std::uint64_t step) const { BOOST_REQUIRE(write(ends[1], &step, sizeof step) == sizeof step); }
  std::optional<std::uint64_t> receive() const {
    std::uint64_t step = 0;
    return read(ends[0], &step, sizeof step) == sizeof step ? std::optional(step) : std::nullopt;
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(another_process_reads_the_rows_of_each_step_while_as_many_as_slots_are_in_flight) {
  const auto channel = row_channel::create(shape);
  BOOST_REQUIRE_MESSAGE(channel, channel.error().message);
  const messages written, done;
  constexpr std::uint64_t steps = 200;
  const auto child = fork();
  if (child == 0) {
    const auto other = row_channel::open(channel->address(), shape);
    bool right = other.has_value();
    for (std::uint64_t step = 1; right && step <= steps; ++step) {
      right = written.receive() == step && has_rows_of(*other, step);
      done.send(step);
    }
    _exit(right ? 0 : 1);
  }
  for (std::uint64_t step = 1; step <= steps; ++step) {
    if (step > shape.slots)
      BOOST_TEST_REQUIRE((done.receive() == step - shape.slots));
    write_rows_of(*channel, step);
    written.send(step);
  }
  int status = 0;
  waitpid(child, &status, 0);
  BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

BOOST_AUTO_TEST_CASE(slots_share_no_row_and_begin_at_cache_lines) {
  const auto channel = row_channel::create(shape);
  BOOST_REQUIRE(channel);
  for (std::uint64_t step = 4; step < 7; ++step) {
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(channel->rows_of(step, 1).data()) % 64 == 0u);
    write_rows_of(*channel, step);
  }
  for (std::uint64_t step = 4; step < 7; ++step)
    BOOST_TEST(has_rows_of(*channel, step));
  BOOST_TEST(channel->rows_of(7, 2).data() == channel->rows_of(4, 2).data());
  BOOST_TEST(channel->rows_of(7, 2).size() == 10u);
}

BOOST_AUTO_TEST_CASE(wrong_shapes_and_owners_that_are_gone_are_refused) {
  for (const auto& wrong :
       {row_channel_shape{0, 7, 5}, row_channel_shape{3, 0, 5}, row_channel_shape{3, 7, 0},
        row_channel_shape{3, ~std::size_t{0} / 2, 5}, row_channel_shape{std::size_t{1} << 50, 7, 5}})
    BOOST_TEST((row_channel::create(wrong).error().code == errc::invalid_argument));
  std::string address;
  {
    const auto channel = row_channel::create(shape);
    BOOST_REQUIRE(channel);
    address = channel->address();
    BOOST_TEST(row_channel::open(address, shape).has_value());
    BOOST_TEST((row_channel::open(address, {.slots = 4, .max_rows = 7, .width = 5}).error().code == errc::malformed));
  }
  BOOST_TEST(!row_channel::open(address, shape).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
