#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/pre_tokenizer.hpp"

#include <cstdint>
#include <new>
#include <stdexcept>

#include <fmt/format.h>
#include <pcre2.h>

namespace troupe {
namespace {

std::string pcre2_message(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

} // namespace

void pre_tokenizer::deleter::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}
void pre_tokenizer::deleter::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}
void pre_tokenizer::deleter::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}

expected<pre_tokenizer> pre_tokenizer::compile(std::span<const char* const> stages) {
  pre_tokenizer result;
  result.context_.reset(pcre2_match_context_create(nullptr));
  if (!result.context_)
    return fail(errc::out_of_memory, "There is no memory for the tokenizer's regular expressions.");
  // No pattern repeats a group or nests a repetition, so that time and memory grow with the text alone; the limits
  // are PCRE2's guard against patterns that do, and would end a long run of white space.
  pcre2_set_match_limit(result.context_.get(), UINT32_MAX);
  pcre2_set_depth_limit(result.context_.get(), UINT32_MAX);
  pcre2_set_heap_limit(result.context_.get(), UINT32_MAX);
  for (const char* pattern : stages) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    stage next;
    next.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &offset, nullptr));
    if (!next.code)
      return fail(errc::internal,
                  fmt::format("PCRE2 refuses the pre-tokenizer pattern {} at {}: {}. It must be built with Unicode.",
                              pattern, offset, pcre2_message(code)));
    next.has_jit = pcre2_jit_compile(next.code.get(), PCRE2_JIT_COMPLETE) == 0;
    result.stages_.push_back(std::move(next));
  }
  return result;
}

word_splitter::word_splitter(const pre_tokenizer& rules)
    : rules_(&rules), levels_(rules.stages_.size()), match_(pcre2_match_data_create(1, nullptr)) {
  if (!match_)
    throw std::bad_alloc();
}

void word_splitter::start(std::string_view text) {
  text_ = text;
  for (auto& state : levels_)
    state = {};
}

bool word_splitter::next_of(std::size_t depth, std::string_view& word) {
  if (depth == 0) { // The text itself, once.
    word = text_;
    text_ = {};
    return !word.empty();
  }
  auto& state = levels_[depth - 1];
  if (state.position == state.piece.size()) {
    std::string_view piece;
    if (!next_of(depth - 1, piece))
      return false;
    state = {piece};
  }
  if (state.position == state.match_end)
    find_match(depth - 1, state);
  auto end = state.position < state.match_begin ? state.match_begin : state.match_end;
  word = state.piece.substr(state.position, end - state.position);
  state.position = end;
  return true;
}

// Sets the next match; where there is none, the rest counts as one, since both are words alike.
void word_splitter::find_match(std::size_t index, level& state) {
  const auto& stage = rules_->stages_[index];
  auto* context = rules_->context_.get();
  auto size = state.piece.size();
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (stage.has_jit)
    result = pcre2_jit_match(stage.code.get(), units(state.piece), size, state.position, PCRE2_NO_UTF_CHECK,
                             match_.get(), context);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT)
    result = pcre2_match(stage.code.get(), units(state.piece), size, state.position,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match_.get(), context);
  if (result == PCRE2_ERROR_NOMEMORY || result == PCRE2_ERROR_HEAPLIMIT)
    throw std::bad_alloc();
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    throw std::logic_error("pre-tokenizer: " + pcre2_message(result));
  const auto* offsets = pcre2_get_ovector_pointer(match_.get());
  if (result == PCRE2_ERROR_NOMATCH || offsets[0] == offsets[1]) {
    state.match_begin = state.position;
    state.match_end = size;
    return;
  }
  state.match_begin = offsets[0];
  state.match_end = offsets[1];
}

} // namespace troupe
