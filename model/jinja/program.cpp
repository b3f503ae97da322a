#include "model/jinja/program.hpp"

#include <algorithm>
#include <new>

#include <nlohmann/json.hpp>

#include "model/jinja/interpreter.hpp"
#include "model/jinja/json.hpp"
#include "model/jinja/parser.hpp"

namespace troupe::jinja {

expected<program> program::parse(std::string_view source, const limits& bounds) {
  try {
    program p;
    p.bounds_ = bounds;
    p.tree_ = parser(tokenize(source, bounds), bounds).run();
    return p;
  } catch (const failure& f) {
    return fail(f.code, "The chat template cannot be read: " + f.message + ".");
  }
}

expected<text_parts> program::render(const nlohmann::ordered_json& variables, const std::vector<std::string>& trusted,
                                     std::int64_t now) const {
  if (!variables.is_object())
    return fail(errc::invalid_argument, "A chat template needs an object with its variables.");
  std::uint32_t line = 0;
  try {
    workspace ws(bounds_, now);
    std::vector<named_value> named;
    for (const auto& [name, item] : variables.items()) {
      bool is_trusted = std::find(trusted.begin(), trusted.end(), name) != trusted.end();
      named.push_back({name, from_json(ws, item, is_trusted)});
    }
    interpreter run(ws, tree_, named);
    try {
      return run.run().parts();
    } catch (const failure&) {
      line = run.line();
      throw;
    }
  } catch (const failure& f) {
    if (f.code == errc::invalid_argument)
      return fail(f.code, "The chat template refuses these messages: " + f.message);
    std::string where = line > 0 ? "line " + std::to_string(line) + ": " : "";
    return fail(f.code, "The chat template fails: " + where + f.message + ".");
  } catch (const std::bad_alloc&) {
    return fail(errc::out_of_memory, "There is not enough memory to render the chat template.");
  }
}

} // namespace troupe::jinja
