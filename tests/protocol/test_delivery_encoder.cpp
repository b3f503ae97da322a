#include <boost/test/unit_test.hpp>

#include "protocol/codec.hpp"
#include "protocol/limits.hpp"
#include "tests/protocol/random_messages.hpp"

namespace troupe::test {
BOOST_AUTO_TEST_SUITE(delivery_frames)

namespace {

server_message read(std::string_view frame) {
  auto message = decode_server(frame);
  BOOST_REQUIRE_MESSAGE(message, (message ? "" : message.error().message));
  return std::move(*message);
}

std::vector<server_message> frames_of(const std::vector<server_message>& delivery) {
  delivery_encoder encoder;
  std::vector<server_message> frames;
  encoder.begin(delivery);
  while (auto frame = encoder.next())
    frames.push_back(read(*frame));
  BOOST_TEST(!encoder.next());
  return frames;
}

/// All deltas and ends, whichever frames they came in.
step_deltas merged(const std::vector<server_message>& messages) {
  step_deltas all;
  for (const server_message& message : messages) {
    if (const auto* delta = std::get_if<token_delta>(&message))
      all.deltas.push_back(*delta);
    else if (const auto* end = std::get_if<request_end>(&message))
      all.ends.push_back(*end);
    else if (const auto* step = std::get_if<step_deltas>(&message)) {
      all.deltas.insert(all.deltas.end(), step->deltas.begin(), step->deltas.end());
      all.ends.insert(all.ends.end(), step->ends.begin(), step->ends.end());
    }
  }
  return all;
}

token_delta delta_of(request_id id, std::string text = " word") {
  return {.id = id, .token_ids = {5}, .text = std::move(text)};
}

} // namespace

BOOST_AUTO_TEST_CASE(nothing_to_send_is_no_frame) {
  BOOST_TEST(frames_of({}).empty());
  BOOST_TEST(frames_of({step_deltas{}, step_deltas{}}).empty());
}

BOOST_AUTO_TEST_CASE(one_message_alone_is_a_frame_of_its_own_type) {
  BOOST_TEST((frames_of({delta_of(1)}) == std::vector<server_message>{delta_of(1)}));
  BOOST_TEST((frames_of({request_end{.id = 1}}) == std::vector<server_message>{request_end{.id = 1}}));
  BOOST_TEST((frames_of({step_deltas{{delta_of(1)}, {}}}) == std::vector<server_message>{delta_of(1)}));
  BOOST_TEST((frames_of({pong{1}}) == std::vector<server_message>{pong{1}}));
}

BOOST_AUTO_TEST_CASE(what_a_step_brought_is_one_frame_with_the_deltas_first) {
  const step_deltas whole{{delta_of(1), delta_of(2), delta_of(3)}, {request_end{.id = 1}, request_end{.id = 3}}};
  const std::vector<server_message> one{whole};
  BOOST_TEST((frames_of({delta_of(1), request_end{.id = 1}, delta_of(2), delta_of(3), request_end{.id = 3}}) == one));
  BOOST_TEST((frames_of({whole}) == one));
  BOOST_TEST((frames_of({step_deltas{{delta_of(1), delta_of(2)}, {request_end{.id = 1}}}, delta_of(3),
                         request_end{.id = 3}}) == one));
}

BOOST_AUTO_TEST_CASE(a_batch_has_the_bytes_of_the_message_that_it_is) {
  const step_deltas whole{{delta_of(1), delta_of(2)}, {request_end{.id = 1}}};
  const std::vector<server_message> parts{delta_of(1), delta_of(2), request_end{.id = 1}};
  delivery_encoder encoder;
  encoder.begin(parts);
  BOOST_TEST(encoder.next().value() == encode(whole));
}

BOOST_AUTO_TEST_CASE(other_messages_keep_their_place) {
  const std::vector<server_message> expected{step_deltas{{delta_of(1), delta_of(2)}, {}}, pong{9}, delta_of(3)};
  BOOST_TEST((frames_of({delta_of(1), delta_of(2), pong{9}, delta_of(3)}) == expected));
}

BOOST_AUTO_TEST_CASE(a_long_step_becomes_several_frames_that_a_client_takes) {
  std::vector<server_message> many, few{step_deltas{}};
  auto& step = std::get<step_deltas>(few.front());
  for (request_id id = 1; id <= 20000; ++id) {
    many.push_back(delta_of(id));
    step.deltas.push_back(delta_of(id));
    if (id % 10 == 0) {
      auto& end = step.ends.emplace_back();
      end.id = id;
      end.choices.resize(16);
      many.push_back(end);
    }
  }
  for (const auto& delivery : {many, few}) {
    const auto frames = frames_of(delivery);
    BOOST_TEST(frames.size() > 3u);
    BOOST_TEST(frames.size() < 100u);
    BOOST_TEST((merged(frames) == step));
  }
}

BOOST_AUTO_TEST_CASE(long_texts_are_sent_in_frames_of_their_own) {
  const std::string text(max_step_bytes, 'x');
  const auto frames = frames_of({delta_of(1), delta_of(2, text), delta_of(3, text), delta_of(4)});
  BOOST_TEST((frames == std::vector<server_message>{delta_of(1), delta_of(2, text), delta_of(3, text), delta_of(4)}));
}

BOOST_AUTO_TEST_CASE(an_encoder_is_used_again_and_again) {
  random_messages random(5);
  delivery_encoder encoder;
  for (int i = 0; i < 300; ++i) {
    std::vector<server_message> delivery, frames;
    for (std::uint32_t count = random.below(12); count > 0; --count)
      delivery.push_back(random.from_server());
    encoder.begin(delivery);
    while (auto frame = encoder.next())
      frames.push_back(read(*frame));
    BOOST_REQUIRE((merged(frames) == merged(delivery)));
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace troupe::test
