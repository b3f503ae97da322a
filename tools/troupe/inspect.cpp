// `troupe inspect MODEL`: what is in a model file, and the memory that it will need.
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cpu/backends.hpp"
#include "model/gguf/file.hpp"
#include "tools/troupe/options.hpp"

namespace troupe::cli {

namespace {

std::string type_of(const gguf::metadata_entry& entry) {
  if (entry.type != gguf::value_type::array)
    return std::string(to_string(entry.type));
  return fmt::format("{}[{}]", to_string(entry.element_type), entry.count);
}

double megabytes(std::uint64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

struct type_total {
  std::size_t tensors = 0;
  std::uint64_t bytes = 0;
};

std::map<std::string, type_total> totals_of(const gguf::file& file) {
  std::map<std::string, type_total> totals;
  for (const auto& tensor : file.tensors()) {
    auto& total = totals[std::string(to_string(tensor.type))];
    ++total.tensors;
    total.bytes += tensor.data.size();
  }
  return totals;
}

std::string text_of(const gguf::file& file, const expected<model_program>& program) {
  auto out = fmt::format("{}\n{} bytes, {} metadata entries, {} tensors\n\nMetadata\n", file.path().string(),
                         file.size(), file.metadata_count(), file.tensors().size());
  for (std::size_t i = 0; i < file.metadata_count(); ++i) {
    const auto entry = file.metadata(i);
    out += fmt::format("  {:<42} {:<12} {}\n", entry.key, type_of(entry), file.describe(entry.key, 80));
  }
  out += "\nTensors\n";
  for (const auto& tensor : file.tensors())
    out += fmt::format("  {:<32} {:<6} {:>14} {:>12} bytes\n", tensor.name, to_string(tensor.type),
                       fmt::format("[{}]", fmt::join(tensor.shape, " x ")), tensor.data.size());
  out += "\nBy type\n";
  for (const auto& [type, total] : totals_of(file))
    out += fmt::format("  {:<6} {:>5} tensors {:>14} bytes\n", type, total.tensors, total.bytes);
  if (!program)
    return out + "\nTroupe cannot run this model: " + program.error().message + "\n";
  const auto block = cpu_kv_block_bytes(*program, kv_cache_dtype::bf16);
  const auto small_block = cpu_kv_block_bytes(*program, kv_cache_dtype::int8);
  const auto tokens = kv_tokens_of({}, program->context_length);
  const auto kv = tokens / tokens_per_block * block;
  return out +
         fmt::format("\nMemory on the CPU, at most\n  weights       {:>8.1f} MB\n  KV cache      {:>8.1f} MB for {} "
                     "tokens, {} bytes "
                     "each, or {} with --kv-cache-dtype int8 (--kv-tokens; the model's context is {})\n  together    "
                     "  {:>8.1f} MB and some buffers\n",
                     megabytes(file.size()), megabytes(kv), tokens, block / tokens_per_block,
                     small_block / tokens_per_block, program->context_length, megabytes(file.size() + kv));
}

nlohmann::ordered_json json_of(const gguf::file& file, const expected<model_program>& program) {
  nlohmann::ordered_json out;
  out["path"] = file.path().string();
  out["bytes"] = file.size();
  for (std::size_t i = 0; i < file.metadata_count(); ++i) {
    const auto entry = file.metadata(i);
    out["metadata"][std::string(entry.key)] = {{"type", type_of(entry)}, {"value", file.describe(entry.key, 80)}};
  }
  for (const auto& tensor : file.tensors())
    out["tensors"].push_back({{"name", tensor.name},
                              {"type", to_string(tensor.type)},
                              {"shape", tensor.shape},
                              {"bytes", tensor.data.size()}});
  if (program) {
    out["architecture"] = program->architecture;
    out["context_length"] = program->context_length;
    const auto kv_bytes = cpu_kv_block_bytes(*program, kv_cache_dtype::bf16) / tokens_per_block;
    const auto tokens = kv_tokens_of({}, program->context_length);
    out["kv_bytes_per_token"] = kv_bytes;
    out["kv_tokens"] = tokens;
    out["memory_bytes"] = file.size() + std::uint64_t{tokens} * kv_bytes;
  } else {
    out["unsupported"] = program.error().message;
  }
  return out;
}

} // namespace

int inspect(const inspect_flags& flags) {
  auto file = open_model(flags.model);
  if (!file)
    return report(file.error());
  const auto program = make_program(**file);
  const auto text = flags.json
                      ? json_of(**file, program).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                      : text_of(**file, program);
  return write_stdout(text) ? 0 : report({errc::io, "Cannot write to stdout: it is closed or full."});
}

} // namespace troupe::cli
