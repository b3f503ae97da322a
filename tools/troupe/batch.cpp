// `troupe batch FILE.jsonl`: many prompts, results in the order of the file. The output grows a line at a time, so
// that an interrupted run goes on after the last whole line.
#include <unistd.h>

#include <chrono>
#include <deque>
#include <fstream>
#include <iostream>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <xxhash.h>

#include "engine/admission.hpp"
#include "model/bounded_json.hpp"
#include "protocol/limits.hpp"
#include "protocol/validate.hpp"
#include "tools/troupe/answer.hpp"
#include "tools/troupe/local_engine.hpp"
#include "tools/troupe/progress.hpp"
#include "tools/troupe/request_options.hpp"

namespace troupe::cli {

namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t max_line_bytes = 32u << 20;

// A line is taken while those that are open have less than this: with one more, the engine still admits all of them.
constexpr std::uint32_t enough_answers = admission_limits{}.max_open_sequences / 2;
constexpr std::size_t enough_bytes = max_line_bytes; ///< Of lines. No prompt has more tokens than bytes.
static_assert(enough_answers + max_choices <= admission_limits{}.max_open_sequences &&
              enough_bytes + max_line_bytes <= admission_limits{}.max_open_tokens);

struct wrong_line_type : std::exception {};

expected<json> parse_line(const std::string& line) {
  auto value = parse_bounded_json(line, max_frame_nesting);
  if (value && !value->is_object())
    return fail(errc::malformed, "The line is not a JSON object.");
  return value;
}

/// One line of the input as a request, or what is wrong with it.
class line_reader {
public:
  explicit line_reader(const prompt_flags& defaults) : defaults_(defaults) {}

  expected<generate_request> read(const std::string& line, json& id) const {
    if (line.size() > max_line_bytes)
      return fail(errc::limit_exceeded, "The line is longer than " + std::to_string(max_line_bytes) + " bytes.");
    const auto object = parse_line(line);
    if (!object)
      return tl::unexpected(object.error());
    generate_request request = defaults_.request;
    std::optional<bool> raw;
    std::optional<std::string> text;
    int prompts = 0;
    try {
      for (const auto& [key, value] : object->items()) {
        field_ = key;
        if (key == "id")
          id = value;
        else if (key == "prompt")
          text = value.get<std::string>(), ++prompts;
        else if (key == "messages")
          request.prompt = messages_of(value), ++prompts;
        else if (key == "tokens")
          request.prompt = tokens_of(value), ++prompts;
        else if (key == "raw")
          raw = value.get<bool>();
        else if (!set_request_field(request, key, value))
          return fail(errc::unknown_field, "The field \"" + key + "\" is not known.");
      }
    } catch (const std::exception&) { // `wrong_line_type`, or what the JSON library throws for the same reason.
      return fail(errc::invalid_argument, "The field \"" + field_ + "\" has the wrong type.");
    }
    if (prompts != 1)
      return fail(errc::invalid_argument, "The line needs one of \"prompt\", \"messages\" and \"tokens\".");
    if (raw && !text)
      return fail(errc::invalid_argument, "The field \"raw\" goes with \"prompt\" alone.");
    if (text) {
      auto flags = defaults_;
      flags.raw = raw.value_or(defaults_.raw);
      request.prompt = make_prompt(flags, std::move(*text));
    }
    if (auto valid = validate(request); !valid)
      return tl::unexpected(valid.error());
    return request;
  }

private:
  static prompt_messages messages_of(const json& value) {
    if (!value.is_array())
      throw wrong_line_type();
    prompt_messages messages;
    for (const auto& message : value) {
      if (message.size() != 2)
        throw wrong_line_type();
      messages.push_back({message.at("role").get<std::string>(), message.at("content").get<std::string>()});
    }
    return messages;
  }

  // The JSON library would cut 1.5, true and 2^32 to an integer that nobody wrote.
  static prompt_tokens tokens_of(const json& value) {
    if (!value.is_array())
      throw wrong_line_type();
    prompt_tokens tokens;
    for (const auto& token : value) {
      if (!token.is_number_unsigned() || token.get<std::uint64_t>() > std::numeric_limits<token_id>::max())
        throw wrong_line_type();
      tokens.push_back(token.get<token_id>());
    }
    return tokens;
  }

  const prompt_flags& defaults_;
  mutable std::string field_;
};

/// Names a line of the input in its result, so that results are not taken for those of another file.
std::string fingerprint_of(const std::string& line) {
  return fmt::format("{:016x}", XXH3_64bits(line.data(), line.size()));
}

/// The output file: whole lines only. Opening it counts the results that are there and cuts off half a line, but
/// touches nothing that is not a result of this command for this input.
class result_file {
public:
  expected<std::size_t> open(const std::filesystem::path& path, std::ifstream& input) {
    path_ = path;
    if (std::error_code problem;
        std::filesystem::exists(path, problem) && !std::filesystem::is_regular_file(path, problem))
      return fail(errc::invalid_argument,
                  path.string() + " is not a file that results can be kept in: name another --output.");
    std::size_t lines = 0, bytes = 0;
    std::string line, from;
    if (std::ifstream present(path, std::ios::binary); present) {
      while (std::getline(present, line) && !present.eof()) {
        if (!std::getline(input, from) || !line.starts_with(beginning_of(lines + 1, from)))
          return not_ours(lines + 1);
        ++lines;
        bytes += line.size() + 1;
        const auto result = parse_line(line);
        errors_ += result && result->contains("error");
      }
      if (!line.empty() && present.eof()) { // Half a line, if it is one of ours.
        if (!std::getline(input, from))
          return not_ours(lines + 1);
        const auto beginning = beginning_of(lines + 1, from);
        if (line.compare(0, beginning.size(), beginning, 0, line.size()) != 0)
          return not_ours(lines + 1);
        std::error_code problem;
        std::filesystem::resize_file(path, bytes, problem);
        if (problem)
          return fail(errc::io, "Cannot write " + path.string() + ": " + problem.message() + ".");
      }
    }
    out_.open(path, std::ios::binary | std::ios::app);
    if (!out_)
      return fail(errc::io, "Cannot write " + path.string() + ": " + std::strerror(errno) + ".");
    return lines;
  }

  expected<void> append(const json& result) {
    errors_ += result.contains("error");
    out_ << result.dump(-1, ' ', false, json::error_handler_t::replace) << '\n' << std::flush;
    if (!out_)
      return fail(errc::io, "Cannot write " + path_.string() +
                              ": is the disk full? What is there counts; run the same "
                              "command again to go on.");
    return {};
  }

  /// How many of the results say why there is none, those of earlier runs included.
  std::size_t errors() const { return errors_; }

private:
  /// How the result of a line begins.
  static std::string beginning_of(std::size_t number, const std::string& line) {
    return fmt::format("{{\"line\":{},\"input\":\"{}\"", number, fingerprint_of(line));
  }

  tl::unexpected<error> not_ours(std::size_t line) const {
    return fail(errc::invalid_argument, path_.string() + " is there, but its line " + std::to_string(line) +
                                          " is not a result of this command for this input: name another --output.");
  }

  std::filesystem::path path_;
  std::ofstream out_;
  std::size_t errors_ = 0;
};

class progress_bar {
public:
  explicit progress_bar(std::size_t total) : total_(total), terminal_(isatty(STDERR_FILENO)) {}

  void show(std::size_t done, std::uint64_t tokens, bool last = false) {
    const auto now = std::chrono::steady_clock::now();
    const auto pause = terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(10000);
    if (!last && now - shown_ < pause)
      return;
    shown_ = now;
    const auto seconds = std::chrono::duration<double>(now - start_).count();
    std::cerr << (terminal_ ? "\r" : "")
              << fmt::format("{}  {:.0f} tokens/s", bar_of(done, total_),
                             seconds > 0 ? static_cast<double>(tokens) / seconds : 0)
              << (terminal_ && !last ? "" : "\n") << std::flush;
  }

private:
  std::size_t total_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), shown_{};
};

/// Feeds the engine from the file, as far ahead of the oldest line that has not ended as the engine admits.
class batch_job {
public:
  batch_job(local_engine& engine, const batch_flags& flags, std::ifstream& input, result_file& output,
            std::size_t done, std::size_t total)
      : engine_(engine), reader_(flags.prompt), input_(input), output_(output),
        window_(std::min(4 * max_sequences_of(flags.engine.settings), max_requests_per_client)), next_line_(done),
        written_(done), bar_(total) {}

  int work() {
    fill();
    while (!window_lines_.empty() && !failed_) {
      auto received = engine_.receive(
        [&](server_message& message) {
          take(message);
          return !window_lines_.empty() && !failed_;
        },
        [&] {
          interrupted_ = true;
          return false;
        });
      if (!received)
        return report(received.error());
      if (interrupted_)
        break;
    }
    bar_.show(written_, tokens_, true);
    if (failed_)
      return report(*failed_);
    if (interrupted_) {
      std::cerr << "troupe: interrupted; the same command goes on where this one ended." << std::endl;
      return 130;
    }
    return exit_code_of(output_);
  }

  /// Of a job that is complete.
  static int exit_code_of(const result_file& output) {
    if (output.errors() == 0)
      return 0;
    return report(
      {errc::invalid_argument, std::to_string(output.errors()) + " of the results are errors, which say why."});
  }

private:
  struct line_state {
    json result;               ///< Its first keys are those of `result_file::beginning_of`.
    generate_request request;  ///< But for its prompt.
    std::size_t bytes = 0;     ///< Of the line.
    std::uint32_t answers = 0; ///< That are generated for it.
    cli::answer answer;
    bool ended = false;
  };

  void fill() {
    bool more = true;
    while (more && !failed_ && has_room()) {
      while (more && has_room())
        more = take_line();
      flush(); // Lines that ended at once make room for others.
    }
  }

  bool has_room() const {
    return window_lines_.size() < window_ && answers_ < enough_answers && bytes_ < enough_bytes;
  }

  bool take_line() {
    std::string line;
    if (!std::getline(input_, line))
      return false;
    auto& state = window_lines_.emplace_back();
    state.result["line"] = ++next_line_;
    state.result["input"] = fingerprint_of(line);
    json id;
    auto request = reader_.read(line, id);
    if (!id.is_null())
      state.result["id"] = id;
    bytes_ += state.bytes = line.size();
    if (request) {
      answers_ += state.answers = std::max(request->n, request->best_of);
      request->id = next_line_;
      auto prompt = std::exchange(request->prompt, {});
      state.request = *request;
      request->prompt = std::move(prompt);
      engine_.submit(std::move(*request));
    } else {
      end_with(state, request.error());
    }
    return true;
  }

  void end_with(line_state& state, const error& problem) {
    state.result["error"] = {{"code", to_string(problem.code)}, {"message", problem.message}};
    state.ended = true;
  }

  void take(server_message& message) {
    if (auto* delta = std::get_if<token_delta>(&message)) {
      tokens_ += delta->token_ids.size();
      line_of(delta->id).answer.take(*delta);
    } else if (auto* end = std::get_if<request_end>(&message)) {
      auto& state = line_of(end->id);
      if (end->failure.code == errc::unavailable || end->failure.code == errc::queue_full) {
        failed_ = end->failure; // Not the line's fault: it is for the next run.
        return;
      }
      if (end->reason == finish_reason::error) {
        end_with(state, end->failure);
      } else {
        state.answer.end = std::move(*end);
        describe(state.result, state.request, state.answer, false);
        const auto& usage = state.answer.end.usage; // Without cached tokens: results are the same in every run.
        state.result["usage"] = {{"prompt_tokens", usage.prompt_tokens},
                                 {"completion_tokens", usage.completion_tokens}};
        state.answer = {};
        state.ended = true;
      }
      flush();
      fill();
    }
    bar_.show(written_, tokens_);
  }

  line_state& line_of(request_id id) { return window_lines_[id - written_ - 1]; }

  void flush() {
    while (!window_lines_.empty() && window_lines_.front().ended) {
      if (auto put = output_.append(window_lines_.front().result); !put) {
        failed_ = put.error();
        return;
      }
      bytes_ -= window_lines_.front().bytes;
      answers_ -= window_lines_.front().answers;
      window_lines_.pop_front();
      ++written_;
    }
  }

  local_engine& engine_;
  line_reader reader_;
  std::ifstream& input_;
  result_file& output_;
  std::size_t window_;
  std::deque<line_state> window_lines_; ///< Of the lines written_ + 1 to next_line_.
  std::size_t next_line_, written_;
  std::size_t bytes_ = 0; ///< Of all of them together,
  std::uint32_t answers_ = 0;
  std::uint64_t tokens_ = 0;
  progress_bar bar_;
  bool interrupted_ = false;
  std::optional<error> failed_;
};

} // namespace

int batch(const batch_flags& flags) {
  std::ifstream input(flags.input, std::ios::binary);
  std::error_code problem;
  if (std::filesystem::exists(flags.input, problem) && !std::filesystem::is_regular_file(flags.input, problem))
    return report(
      {errc::io, "Cannot read " + flags.input.string() + ": it is no file of lines."}); // It is read twice.
  if (!input)
    return report({errc::not_found, "Cannot read " + flags.input.string() + ": " + std::strerror(errno) + "."});
  std::size_t total = 0;
  for (std::string line; std::getline(input, line);)
    ++total;
  if (input.bad())
    return report({errc::io, "Cannot read " + flags.input.string() + ": " + std::strerror(errno) + "."});
  auto path = flags.output.empty() ? std::filesystem::path(flags.input.string() + ".out.jsonl") : flags.output;
  const auto rewind = [&] {
    input.clear();
    input.seekg(0);
  };
  rewind();
  result_file output;
  auto done = output.open(path, input);
  if (!done)
    return report(done.error());
  if (*done > 0)
    std::cerr << "troupe: " << *done << " of " << total << " lines are done already." << std::endl;
  if (*done == total)
    return batch_job::exit_code_of(output);
  rewind();
  std::string line;
  for (std::size_t i = 0; i < *done; ++i)
    std::getline(input, line);
  auto engine = local_engine::start(flags.engine);
  if (!engine)
    return report(engine.error());
  return batch_job(**engine, flags, input, output, *done, total).work();
}

} // namespace troupe::cli
