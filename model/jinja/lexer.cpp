#include "model/jinja/lexer.hpp"

#include <algorithm>
#include <charconv>

#include "model/jinja/unicode.hpp"
#include "model/jinja/workspace.hpp"

namespace troupe::jinja {

void refuse_at(std::uint32_t line, std::uint32_t column, const std::string& message) {
  refuse("line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + message);
}

namespace {

bool is_name_point(char32_t point) {
  if (point < 0x80)
    return (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z') || (point >= '0' && point <= '9')
           || point == '_';
  return is_alpha(point) || is_digit(point);
}

bool is_decimal(char c) { return c >= '0' && c <= '9'; }

/// Line ends become \n, and one at the very end goes.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n')
        ++i;
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text;
}

class lexer {
public:
  explicit lexer(std::string source) : source_(std::move(source)) {}

  std::vector<token> run() {
    while (at_ < source_.size())
      lex_data();
    add(token_kind::end, "");
    return std::move(tokens_);
  }

private:
  // ---- positions

  void advance_to(std::size_t offset) {
    for (; at_ < offset; ++at_)
      if (source_[at_] == '\n') {
        ++line_;
        line_begin_ = at_ + 1;
      }
  }

  std::uint32_t column() const { return static_cast<std::uint32_t>(at_ - line_begin_ + 1); }
  [[noreturn]] void fail(const std::string& message) const { refuse_at(line_, column(), message); }
  bool sees(std::string_view what) const { return std::string_view(source_).substr(at_, what.size()) == what; }

  void add(token_kind kind, std::string text) { tokens_.push_back({kind, line_, column(), std::move(text)}); }

  std::size_t after_space(std::size_t offset) const {
    while (offset < source_.size()) {
      decoded next = decode(source_, offset);
      if (!is_space(next.point))
        break;
      offset += next.bytes;
    }
    return offset;
  }

  // ---- outside of tags

  void lex_data() {
    std::size_t open = at_;
    for (;; ++open) {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        emit_data(at_, source_.size());
        return advance_to(source_.size());
      }
      char next = source_[open + 1];
      if (next == '{' || next == '%' || next == '#')
        break;
    }
    char sort = source_[open + 1];
    char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
    emit_data(at_, strip_before(at_, open, sign, sort != '{'));
    advance_to(open);
    std::size_t inside = open + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    if (sort == '#')
      return lex_comment(inside);
    if (sort == '%' && lex_raw(inside))
      return;
    add(sort == '{' ? token_kind::variable_begin : token_kind::block_begin, "");
    advance_to(inside);
    lex_inside(sort == '{' ? '}' : '%');
  }

  /// Where the text [begin, end) before a tag ends, once the white space that the tag takes away is gone.
  std::size_t strip_before(std::size_t begin, std::size_t end, char sign, bool block) const {
    if (sign == '-') {
      while (end > begin) {
        std::size_t previous = previous_point(source_, end);
        if (!is_space(decode(source_, previous).point))
          break;
        end = previous;
      }
      return end;
    }
    if (sign == '+' || !block)
      return end;
    // A block that stands alone at the beginning of its line takes its indentation away.
    std::size_t line = end;
    while (line > begin && source_[line - 1] != '\n')
      --line;
    bool line_starts = line > begin || begin == 0 || source_[begin - 1] == '\n';
    return line_starts && line < end && after_space(line) >= end ? line : end;
  }

  void emit_data(std::size_t begin, std::size_t end) {
    if (begin < end)
      add(token_kind::data, source_.substr(begin, end - begin));
  }

  /// The end of a block or comment whose closing marks begin at `close`: one newline goes with it, or all white
  /// space if it is marked with -.
  std::size_t after_close(std::size_t close, char sign) const {
    close += 2;
    if (sign == '-')
      return after_space(close);
    if (sign != '+' && close < source_.size() && source_[close] == '\n')
      ++close;
    return close;
  }

  void lex_comment(std::size_t inside) {
    std::size_t close = source_.find("#}", inside);
    if (close == std::string::npos)
      fail("the comment that begins here has no end");
    advance_to(after_close(close, close > inside ? source_[close - 1] : '\0'));
  }

  /// {% raw %}: all until {% endraw %} is data. False if this is another block.
  bool lex_raw(std::size_t inside) {
    std::size_t begin = tag_named(inside, "raw", true);
    if (begin == 0)
      return false;
    std::size_t open = source_.find("{%", begin);
    for (; open != std::string::npos; open = source_.find("{%", open + 1)) {
      char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
      std::size_t end = tag_named(open + 2 + (sign == '-' || sign == '+' ? 1 : 0), "endraw", false);
      if (end == 0)
        continue;
      advance_to(begin);
      emit_data(begin, strip_before(begin, open, sign, true));
      advance_to(end);
      return true;
    }
    fail("the raw block that begins here has no {% endraw %}");
  }

  /// If the tag at `inside` is `name` and nothing else: the offset after its end, otherwise 0.
  std::size_t tag_named(std::size_t inside, std::string_view name, bool keep_newline) const {
    std::size_t at = after_space(inside);
    if (std::string_view(source_).substr(at, name.size()) != name)
      return 0;
    at = after_space(at + name.size());
    char sign = at < source_.size() ? source_[at] : '\0';
    if (sign == '-' || (sign == '+' && !keep_newline))
      ++at;
    if (std::string_view(source_).substr(at, 2) != "%}")
      return 0;
    return after_close(at, keep_newline && sign != '-' ? '+' : sign);
  }

  // ---- inside of tags

  void lex_inside(char closing) {
    std::string brackets;
    const std::uint32_t line = line_, at_column = column();
    for (;;) {
      advance_to(after_space(at_));
      if (at_ >= source_.size())
        refuse_at(line, at_column, "the tag that begins here has no end");
      if (brackets.empty() && lex_close(closing))
        return;
      char c = source_[at_];
      if (is_decimal(c))
        lex_number();
      else if (c == '\'' || c == '"')
        lex_string(c);
      else if (is_name_point(decode(source_, at_).point))
        lex_name();
      else
        lex_symbol(brackets);
    }
  }

  bool lex_close(char closing) {
    char sign = source_[at_];
    std::size_t close = at_ + (sign == '-' || (sign == '+' && closing == '%') ? 1 : 0);
    if (close + 1 >= source_.size() || source_[close] != closing || source_[close + 1] != '}')
      return false;
    add(closing == '%' ? token_kind::block_end : token_kind::variable_end, "");
    if (closing == '}' && sign != '-')
      sign = '+'; // After a value the newline stays.
    advance_to(after_close(close, sign));
    return true;
  }

  void lex_name() {
    std::size_t end = at_;
    while (end < source_.size()) {
      decoded next = decode(source_, end);
      if (!is_name_point(next.point))
        break;
      end += next.bytes;
    }
    add(token_kind::name, source_.substr(at_, end - at_));
    advance_to(end);
  }

  /// Digits with single underscores between them; the offset after them.
  std::size_t after_digits(std::size_t at) const {
    while (at < source_.size() && (is_decimal(source_[at])
           || (source_[at] == '_' && at + 1 < source_.size() && is_decimal(source_[at + 1]))))
      ++at;
    return at;
  }

  bool digit_at(std::size_t at) const { return at < source_.size() && is_decimal(source_[at]); }

  void lex_number() {
    std::size_t end = after_digits(at_);
    std::size_t whole = end;
    bool after_dot = at_ > 0 && source_[at_ - 1] == '.'; // In a.0.1 nothing is a fraction.
    if (!after_dot && end < source_.size() && source_[end] == '.' && digit_at(end + 1))
      end = after_digits(end + 1);
    if (!after_dot && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-'))
        ++exponent;
      if (digit_at(exponent))
        end = after_digits(exponent);
    }
    if (end == whole)
      return lex_integer(whole);
    std::string digits = without_underscores(at_, end);
    add(token_kind::real, digits);
    std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().real);
    advance_to(end);
  }

  void lex_integer(std::size_t end) {
    int base = 10;
    std::size_t begin = at_;
    if (source_[at_] == '0' && at_ + 2 < source_.size()) {
      char mark = static_cast<char>(source_[at_ + 1] | 0x20);
      base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    }
    if (base != 10) {
      begin = end = at_ + 2;
      while (end < source_.size() && is_name_point(static_cast<unsigned char>(source_[end])))
        ++end;
    }
    std::string digits = without_underscores(begin, end);
    add(token_kind::integer, digits);
    auto [stop, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), tokens_.back().integer, base);
    bool leading_zero = base == 10 && digits.size() > 1 && digits[0] == '0' && tokens_.back().integer != 0;
    if (problem != std::errc{} || stop != digits.data() + digits.size() || leading_zero)
      fail("\"" + source_.substr(at_, end - at_) + "\" is no integer of 64 bits");
    advance_to(end);
  }

  std::string without_underscores(std::size_t begin, std::size_t end) const {
    std::string digits;
    for (; begin < end; ++begin)
      if (source_[begin] != '_')
        digits += source_[begin];
    return digits;
  }

  void lex_string(char quote) {
    std::string content;
    std::size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] == '\\' && at + 1 < source_.size())
        at = unescape(at + 1, content);
      else
        content += source_[at++];
    }
    if (at >= source_.size())
      fail("the string that begins here has no end");
    add(token_kind::string, std::move(content));
    advance_to(at + 1);
  }

  /// Appends what the escape whose letter is at `at` stands for; the offset after it.
  std::size_t unescape(std::size_t at, std::string& content) {
    char c = source_[at++];
    switch (c) {
      case '\n': return at;
      case '\\': case '\'': case '"': content += c; return at;
      case 'a': content += '\a'; return at;
      case 'b': content += '\b'; return at;
      case 'f': content += '\f'; return at;
      case 'n': content += '\n'; return at;
      case 'r': content += '\r'; return at;
      case 't': content += '\t'; return at;
      case 'v': content += '\v'; return at;
      case 'x': return unescape_number(at, 2, 2, 16, content);
      case 'u': return unescape_number(at, 4, 4, 16, content);
      case 'U': return unescape_number(at, 8, 8, 16, content);
      case 'N': fail("\\N{...} in a string is not supported: write the character itself");
      default: break;
    }
    if (c >= '0' && c <= '7')
      return unescape_number(at - 1, 1, 3, 8, content);
    (content += '\\') += c; // As Python does with an escape that it does not know.
    return at;
  }

  std::size_t unescape_number(std::size_t at, std::size_t least, std::size_t most, int base, std::string& content) {
    std::uint32_t point = 0;
    most = std::min(most, source_.size() - at);
    auto [stop, problem] = std::from_chars(source_.data() + at, source_.data() + at + most, point, base);
    auto digits = static_cast<std::size_t>(stop - (source_.data() + at));
    if (problem != std::errc{} || digits < least || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
      fail("a string has an escape that is no code point");
    encode(point, content);
    return at + digits;
  }

  void lex_symbol(std::string& brackets) {
    static constexpr std::string_view pairs[] = {"**", "//", "==", "!=", ">=", "<="};
    for (std::string_view pair : pairs)
      if (sees(pair)) {
        add(token_kind::symbol, std::string(pair));
        return advance_to(at_ + 2);
      }
    char c = source_[at_];
    if (std::string_view("+-/*%~[](){}=><.:|,;").find(c) == std::string_view::npos)
      fail("the character '" + source_.substr(at_, decode(source_, at_).bytes) + "' means nothing here");
    if (c == '(' || c == '[' || c == '{')
      brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c)
        fail(std::string("'") + c + "' closes nothing here"
             + (brackets.empty() ? "" : std::string("; expected '") + brackets.back() + "'"));
      brackets.pop_back();
    }
    add(token_kind::symbol, std::string(1, c));
    advance_to(at_ + 1);
  }

  const std::string source_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  std::size_t line_begin_ = 0;
  std::vector<token> tokens_;
};

} // namespace

std::vector<token> tokenize(std::string_view source, const limits& bounds) {
  if (source.size() > bounds.max_source_bytes)
    refuse_limit("has " + std::to_string(source.size()) + " bytes, more than the limit of "
                 + std::to_string(bounds.max_source_bytes));
  return lexer(normalized(source)).run();
}

} // namespace troupe::jinja
