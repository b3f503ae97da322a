// A trace: events as Perfetto wants them, nested and in their places; and a writer that holds nobody up.
#include <boost/test/unit_test.hpp>

#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <map>

#include <nlohmann/json.hpp>

#include "serve/observe/trace_writer.hpp"
#include "tests/support/temporary_file.hpp"

using namespace troupe;
using namespace troupe::serve;
using namespace std::chrono_literals;
using nlohmann::json;

BOOST_AUTO_TEST_SUITE(trace)

namespace {

using steady = std::chrono::steady_clock;

request_record some_request(steady::time_point begun) {
  request_record request;
  request.id = 7;
  request.origin = {"zmq-1-7", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
  request.n = 2;
  request.usage = {10, 20, 4};
  request.begun = begun;
  request.queue_s = 0.001;
  request.prefill_s = 0.002;
  request.decode_s = 0.007;
  request.total_s = 0.010;
  return request;
}

step_record some_step(steady::time_point begun, std::uint32_t engine = 0) {
  step_record step;
  step.engine = engine;
  step.step = 5;
  step.prefill_tokens = 3;
  step.decode_tokens = 4;
  step.sequences = 5;
  step.begun = begun;
  step.ended = begun + 2ms;
  return step;
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// One that ended in order is JSON as it stands.
json events_of(const std::filesystem::path& file) {
  return json::parse(content_of(file));
}

/// Of the events with this phase and category.
std::vector<json> some_of(const json& events, const std::string& phase, const std::string& category) {
  std::vector<json> found;
  for (const auto& event : events)
    if (event["ph"] == phase && event.value("cat", "") == category)
      found.push_back(event);
  return found;
}

/// Takes entries of the log.
struct heard {
  std::vector<std::string> events;
  logger log() {
    return {[this](const log_entry& entry) { events.emplace_back(entry.event); }, log_level::debug};
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(a_requests_phases_nest_in_it_and_add_up) {
  const auto origin = steady::now();
  trace_text text(origin);
  std::string out;
  text.begin(out);
  text.append(out, some_request(origin + 1ms));
  text.end(out, origin + 20ms, 0);
  const auto events = json::parse(out);
  std::vector<std::string> open, order;
  double last = 0;
  for (const auto& event : events) {
    if (event.value("cat", "") != "request")
      continue;
    const auto name = event["name"].get<std::string>();
    BOOST_TEST(event["id"] == "0x1");
    BOOST_TEST(event["ts"].get<double>() >= last);
    last = event["ts"].get<double>();
    order.push_back(event["ph"].get<std::string>() + " " + name);
    if (event["ph"] == "b") {
      open.push_back(name);
    } else { // Who ends is who began last: they nest.
      BOOST_REQUIRE(!open.empty());
      BOOST_TEST(open.back() == name);
      open.pop_back();
    }
  }
  BOOST_TEST(open.empty());
  BOOST_TEST(order == (std::vector<std::string>{"b request", "b queue", "e queue", "b prefill", "e prefill",
                                                "b decode", "e decode", "e request"}),
             boost::test_tools::per_element());
  const auto args = some_of(events, "b", "request").front()["args"];
  BOOST_TEST(args == json::parse(R"({"request": "zmq-1-7", "connection": 0, "id": 7, "n": 2, "max_tokens": 0,
    "prompt_tokens": 10, "cached_prompt_tokens": 4, "completion_tokens": 20, "reason": "stop",
    "trace_id": "0af7651916cd43dd8448eb211c80319c", "parent_span_id": "b7ad6b7169203331"})"));
  BOOST_TEST(last == 11000.0);
}

BOOST_AUTO_TEST_CASE(phases_that_a_request_never_came_to_are_not_there_and_the_last_one_lasts_to_its_end) {
  const auto origin = steady::now();
  trace_text text(origin);
  std::string out;
  text.begin(out);
  auto request = some_request(origin);
  request.decode_s = request.prefill_s = std::nullopt;
  request.reason = finish_reason::cancelled;
  text.append(out, request);
  request.queue_s = std::nullopt;
  request.failure = errc::queue_full;
  text.append(out, request);
  text.end(out, origin + 20ms, 0);
  std::map<std::string, std::vector<std::string>> began;
  const auto events = json::parse(out);
  for (const auto& event : some_of(events, "b", "request"))
    began[event["id"]].push_back(event["name"]);
  BOOST_TEST((began["0x1"] == std::vector<std::string>{"request", "queue", "prefill"}));
  BOOST_TEST((began["0x2"] == std::vector<std::string>{"request", "queue"}));
  for (const auto& event : some_of(events, "e", "request"))
    if (event["name"] == "request")
      BOOST_TEST(event["ts"].get<double>() == 10000.0);
  BOOST_TEST(some_of(events, "b", "request").back()["name"] == "queue");
  for (const auto& event : some_of(events, "b", "request"))
    if (event["name"] == "request" && event["id"] == "0x2")
      BOOST_TEST(event["args"]["error"] == "queue_full");
}

BOOST_AUTO_TEST_CASE(engines_and_workers_have_tracks_of_their_own_which_are_named_once) {
  const auto origin = steady::now();
  trace_text text(origin);
  std::string out;
  text.begin(out);
  for (int i = 0; i < 3; ++i)
    for (std::uint32_t engine : {0u, 1u}) {
      text.append(out, some_step(origin + i * 10ms, engine));
      for (std::uint32_t stage : {0u, 1u})
        for (std::uint32_t rank : {0u, 1u})
          text.append(out, part_record{engine, 5, 0, stage, rank, origin + i * 10ms, origin + i * 10ms + 1ms});
    }
  text.end(out, origin + 1s, 3);
  const auto events = json::parse(out);
  std::map<std::string, int> names;
  for (const auto& event : some_of(events, "M", ""))
    ++names[event["name"].get<std::string>() + " " + event["args"]["name"].get<std::string>()];
  BOOST_TEST(names["process_name requests"] == 1);
  BOOST_TEST(names["process_name engine 0"] == 1);
  BOOST_TEST(names["thread_name steps"] == 2);
  BOOST_TEST(names["thread_name stage 1 rank 1"] == 2);
  std::map<std::pair<int, int>, int> tracks;
  for (const auto& event : some_of(events, "X", "worker")) {
    ++tracks[{event["pid"].get<int>(), event["tid"].get<int>()}];
    BOOST_TEST(event["dur"].get<double>() == 1000.0);
  }
  BOOST_TEST(tracks.size() == 8u);
  const auto step = some_of(events, "X", "step").front();
  BOOST_TEST(step["dur"].get<double>() == 2000.0);
  BOOST_TEST(step["args"] ==
             json::parse(R"({"step": 5, "epoch": 0, "prefill_tokens": 3, "decode_tokens": 4, "sequences": 5})"));
  BOOST_TEST(events.back()["args"]["dropped"] == 3);
}

BOOST_AUTO_TEST_CASE(a_name_that_a_client_chose_cannot_break_the_file) {
  trace_text text(steady::now());
  std::string out;
  text.begin(out);
  auto request = some_request(steady::now());
  request.origin = {"\"},\n{\"x\": \xff\x01", "nonsense"};
  text.append(out, request);
  text.end(out, steady::now(), 0);
  const auto args = some_of(json::parse(out), "b", "request").front()["args"];
  BOOST_TEST(args["request"].get<std::string>().starts_with("\"},\n{\"x\": "));
  BOOST_TEST(!args.contains("trace_id"));
  for (std::size_t at = 0, end; (end = out.find('\n', at)) != out.npos; at = end + 1) // A line an event.
    if (out[at] == '{')
      BOOST_TEST(json::accept(out.substr(at, end - at - (out[end - 1] == ','))));
}

BOOST_AUTO_TEST_CASE(a_file_has_all_that_was_reported_by_many_threads) {
  const test::temporary_file kept({}, ".json");
  const auto& file = kept.path();
  {
    auto writer = trace_writer::open(file);
    BOOST_REQUIRE(writer);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) {
          (*writer)->ended(some_step(steady::now()));
          (*writer)->computed({});
          if (i % 10 == 0)
            (*writer)->ended(some_request(steady::now()));
        }
      });
    for (auto& thread : threads)
      thread.join();
    (*writer)->finish();
    BOOST_TEST((*writer)->dropped() == 0u);
    (*writer)->ended(some_step(steady::now())); // Too late: it is counted, and nothing else.
    BOOST_TEST((*writer)->dropped() == 1u);
  }
  const auto events = events_of(file);
  BOOST_TEST(some_of(events, "X", "step").size() == 4000u);
  BOOST_TEST(some_of(events, "X", "worker").size() == 4000u);
  BOOST_TEST(some_of(events, "b", "request").size() == 4u * 400);
}

BOOST_AUTO_TEST_CASE(what_was_reported_is_in_the_file_soon_though_nobody_ends_it) {
  const test::temporary_file kept({}, ".json");
  const auto& file = kept.path();
  auto writer = trace_writer::open(file);
  BOOST_REQUIRE(writer);
  (*writer)->ended(some_step(steady::now()));
  for (int i = 0; i < 1000 && content_of(file).find("\"step\"") == std::string::npos; ++i)
    std::this_thread::sleep_for(10ms);
  auto text = content_of(file);
  BOOST_REQUIRE(text.ends_with("},\n")); // As a server that was killed leaves it.
  text.resize(text.size() - 2);
  BOOST_TEST(json::parse(text + "]").size() == 4u);
}

BOOST_AUTO_TEST_CASE(what_a_full_queue_has_no_place_for_is_counted_and_told) {
  const test::temporary_file kept({}, ".json");
  heard said;
  const auto& file = kept.path();
  trace_options options;
  options.max_queued = 10;
  options.gather = 1h; // The writer waits for its end.
  options.log = said.log();
  auto writer = trace_writer::open(file, options);
  BOOST_REQUIRE(writer);
  for (int i = 0; i < 25; ++i)
    (*writer)->ended(some_step(steady::now()));
  BOOST_TEST((*writer)->dropped() == 15u);
  (*writer)->finish();
  BOOST_TEST(some_of(events_of(file), "X", "step").size() == 10u);
  BOOST_TEST(events_of(file).back()["args"]["dropped"] == 15);
  BOOST_TEST(said.events == std::vector<std::string>{"trace_dropped"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_file_stays_within_its_size_and_is_sound) {
  const test::temporary_file kept({}, ".json");
  heard said;
  const auto& file = kept.path();
  trace_options options;
  options.max_bytes = 20000;
  options.gather = 0ms;
  options.log = said.log();
  auto writer = trace_writer::open(file, options);
  BOOST_REQUIRE(writer);
  for (int i = 0; i < 1000; ++i) {
    (*writer)->ended(some_step(steady::now()));
    if (i % 20 == 0)
      std::this_thread::sleep_for(1ms); // Several writes.
  }
  (*writer)->finish();
  BOOST_TEST(std::filesystem::file_size(file) <= options.max_bytes);
  const auto events = events_of(file);
  BOOST_TEST(some_of(events, "X", "step").size() + (*writer)->dropped() == 1000u);
  BOOST_TEST(events.back()["args"]["dropped"] == (*writer)->dropped());
  BOOST_TEST(said.events == (std::vector<std::string>{"trace_full", "trace_dropped"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_had_is_an_error_and_a_full_disk_none) {
  BOOST_REQUIRE(!trace_writer::open("/nowhere/trace.json"));
  BOOST_TEST(trace_writer::open("/nowhere/trace.json").error().message.find("--trace") != std::string::npos);
  heard said;
  trace_options options;
  options.log = said.log();
  auto writer = trace_writer::open("/dev/full", options);
  BOOST_REQUIRE(writer);
  (*writer)->ended(some_step(steady::now()));
  (*writer)->finish();
  BOOST_TEST((*writer)->dropped() == 1u);
  BOOST_TEST(said.events == (std::vector<std::string>{"trace_failed", "trace_dropped"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_file_whose_disk_becomes_full_ends_with_a_whole_event) {
  const test::temporary_file kept({}, ".json");
  heard said;
  const auto& file = kept.path();
  trace_options options;
  options.gather = 0ms;
  options.log = said.log();
  auto writer = trace_writer::open(file, options);
  BOOST_REQUIRE(writer);
  (*writer)->ended(some_step(steady::now()));
  while (content_of(file).find("\"step\"") == std::string::npos)
    std::this_thread::sleep_for(1ms);
  rlimit before{};
  BOOST_REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto limited = std::filesystem::file_size(file) + 1000;
  const rlimit small{limited, before.rlim_max};
  const auto of_limit = std::signal(SIGXFSZ, SIG_IGN);
  BOOST_REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  auto request = some_request(steady::now());
  request.origin.name.assign(5000, 'x'); // One event does not fit.
  (*writer)->ended(request);
  (*writer)->finish();
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, of_limit);
  const auto events = events_of(file);
  BOOST_TEST(some_of(events, "X", "step").size() == 1u);
  BOOST_TEST(some_of(events, "b", "request").empty());
  BOOST_TEST(events.back()["args"]["dropped"] == 1);
  BOOST_TEST(said.events == (std::vector<std::string>{"trace_failed", "trace_dropped"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
