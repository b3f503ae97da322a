// Writes the tiny model of tiny_model.hpp to a file, for tests that are not written in C++.
//
//   write_tiny_model FILE [--seed N] [--layers N] [--width N] [--kv-heads N] [--head-size N] [--context N] [--type F32|F16|Q8_0|Q4_1]
#include <cstdio>
#include <fstream>
#include <map>
#include <string>

#include "tests/support/tiny_model.hpp"

namespace {

int usage(const std::string& problem) {
  std::fprintf(stderr, "write_tiny_model: %s\n", problem.c_str());
  return 2;
}

} // namespace

int main(int argc, char** argv) {
  using troupe::gguf::tensor_type;
  troupe::test::tiny_model_options options;
  const std::map<std::string, std::uint32_t*> numbers{
    {"--layers", &options.layers},
    {"--width", &options.width},
    {"--kv-heads", &options.kv_heads},
    {"--head-size", &options.head_size},
    {"--context", &options.context}};
  const std::map<std::string, tensor_type> types{
    {"F32", tensor_type::f32}, {"F16", tensor_type::f16}, {"Q8_0", tensor_type::q8_0}, {"Q4_1", tensor_type::q4_1}};
  if (argc < 2 || argc % 2 != 0)
    return usage("needs FILE and pairs of an option and its value");
  for (int i = 2; i < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--seed") {
      options.seed = std::stoull(value);
    } else if (auto number = numbers.find(name); number != numbers.end()) {
      *number->second = static_cast<std::uint32_t>(std::stoul(value));
    } else if (auto type = types.find(value); name == "--type" && type != types.end()) {
      options.type = type->second;
    } else {
      return usage("does not know " + name + " " + value);
    }
  }
  options.heads = options.width / options.head_size;
  options.feed_forward = 2 * options.width;
  const auto bytes = troupe::test::tiny_model(options);
  std::ofstream out(argv[1], std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return out.flush() ? 0 : usage(std::string("cannot write ") + argv[1]);
}
