// Reads a JSON object {"template", "context", "now"?} from stdin, or one on each line, and writes a JSON object for
// each: {"parts": [[text, trusted], ...]} or {"error", "code"}. tests/oracle/compare_templates.py drives it.
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "model/jinja/program.hpp"

namespace {

nlohmann::ordered_json answer(const nlohmann::ordered_json& request) {
  auto failed = [](const troupe::error& e) {
    return nlohmann::ordered_json{{"error", e.message}, {"code", troupe::to_string(e.code)}};
  };
  auto program = troupe::jinja::program::parse(request.at("template").get_ref<const std::string&>());
  if (!program)
    return failed(program.error());
  auto parts = program->render(request.at("context"), {"bos_token", "eos_token"}, request.value("now",
      std::int64_t{0}));
  if (!parts)
    return failed(parts.error());
  auto list = nlohmann::ordered_json::array();
  for (const auto& part : *parts)
    list.push_back({part.text, part.trusted});
  return {{"parts", list}};
}

} // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    auto request = nlohmann::ordered_json::parse(line, nullptr, false);
    if (request.is_discarded()) {
      std::cerr << "render_tool: a line of stdin is no JSON\n";
      return 1;
    }
    std::cout << answer(request).dump() << '\n' << std::flush;
  }
}
