#include "bench/gpu_kernels.hpp"

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "bench/support.hpp"
#include "gpu/backend/device_weights.hpp"
#include "gpu/kernels/attention_kernels.hpp"
#include "gpu/kernels/weight_kernels.hpp"

namespace troupe::bench {

namespace {

using namespace troupe::gpu;
using json = nlohmann::ordered_json;

constexpr std::uint8_t some_byte = 0x3c; ///< Of halves and brain floats that are neither large nor small.

void must(expected<void> done) {
  if (!done)
    give_up(done.error().message);
}

class kernel_bench {
public:
  kernel_bench(runtime& on, bool small, double peak)
      : on_(on), small_(small), peak_(peak), stream_(or_give_up(on.make_stream())) {}
  ~kernel_bench() { release(); }

  json results() const { return results_; }

  void products();
  void rows();
  void attention();

private:
  /// Bytes that all have one value, until `release`.
  address filled(std::size_t bytes) {
    owned_.push_back(or_give_up(on_.allocate(bytes)));
    must(on_.fill(stream_, owned_.back(), some_byte, bytes));
    return owned_.back();
  }
  template <class T>
  address uploaded(const std::vector<T>& values) {
    const auto at = filled(values.size() * sizeof(T));
    must(upload(on_, stream_, std::as_bytes(std::span(values)), at));
    return at;
  }
  void release() {
    for (const auto each : owned_)
      must(on_.free(each));
    owned_.clear();
  }

  /// queue(i): one launch, with the i-th data of `copies`. bytes and operations: of one launch; 0: not told.
  void measure(const std::string& what, unsigned copies, double bytes, double operations,
               const std::function<expected<void>(unsigned)>& queue) {
    const unsigned launches = small_ ? 1 : std::max(copies, 20u), rounds = small_ ? 1 : 10;
    must(queue(0));
    must(on_.synchronize(stream_));
    must(on_.begin_capture(stream_));
    for (unsigned i = 0; i < launches; ++i)
      must(queue(i % copies));
    const auto graph = or_give_up(on_.end_capture(stream_));
    must(on_.launch(stream_, graph));
    must(on_.synchronize(stream_));
    const auto from = clock_type::now();
    for (unsigned i = 0; i < rounds; ++i)
      must(on_.launch(stream_, graph));
    must(on_.synchronize(stream_));
    const double seconds = seconds_since(from) / (launches * rounds);
    must(on_.free(graph));
    json told{{"kernel", what}, {"us", seconds * 1e6}};
    if (bytes > 0) {
      told["gb_s"] = bytes / seconds / 1e9;
      if (peak_ > 0)
        told["of_peak"] = bytes / seconds / peak_;
    }
    if (operations > 0)
      told["tflop_s"] = operations / seconds / 1e12;
    results_.push_back(std::move(told));
  }
  template <class Arguments>
  expected<void> launch(const launch_plan& how, const Arguments& arguments) {
    return on_.launch(stream_, how.kernel, how.shape, &arguments);
  }
  /// More than any cache has, in all.
  unsigned copies_of(std::size_t bytes) const {
    constexpr std::size_t beyond_caches = std::size_t{256} << 20;
    return small_ ? 1 : static_cast<unsigned>(beyond_caches / bytes + 1);
  }

  runtime& on_;
  bool small_;
  double peak_;
  stream_id stream_;
  std::vector<address> owned_;
  json results_ = json::array();
};

void kernel_bench::products() {
  const std::uint32_t outputs = small_ ? 64 : 4096, inputs = small_ ? 256 : 4096;
  for (const auto format : {weight_format::q4_0, weight_format::q4_1, weight_format::q4_k, weight_format::q6_k,
                            weight_format::q8_0, weight_format::f8, weight_format::bf16}) {
    const auto layout = layout_of(format, outputs, inputs);
    const auto copies = copies_of(layout.bytes);
    std::vector<device_matrix> matrices;
    for (unsigned i = 0; i < copies; ++i)
      matrices.push_back({{filled(layout.bytes)}, layout});
    for (const std::uint32_t rows : {1u, 8u}) {
      const auto x = filled(std::size_t{rows} * inputs * 2), y = filled(std::size_t{rows} * outputs * 4);
      measure(
        fmt::format("product<{},{}> {} x {}", to_string(format), rows, outputs, inputs), copies,
        static_cast<double>(layout.bytes), 0, [&](unsigned i) {
          return launch(plan_product(layout, rows), product_arguments{matrices[i], {x}, {}, {y}, rows, outputs, 0});
        });
    }
    if (format == weight_format::q4_k) {
      const auto out = filled(std::size_t{outputs} * inputs * 2);
      measure(fmt::format("dequantise<{}> {} x {}", to_string(format), outputs, inputs), copies,
              static_cast<double>(layout.bytes) + 2.0 * outputs * inputs, 0, [&](unsigned i) {
                return launch(plan_dequantise(layout, outputs), dequantise_arguments{matrices[i], {out}, 0, outputs});
              });
    }
    release();
  }
  must(on_.open_products());
  for (const std::uint32_t rows : {16u, 128u, 512u}) {
    const matrix_product what{filled(std::size_t{rows} * inputs * 2),
                              filled(std::size_t{outputs} * inputs * 2),
                              filled(std::size_t{rows} * outputs * 4),
                              rows,
                              outputs,
                              inputs,
                              outputs};
    measure(fmt::format("the library's product, {} rows, {} x {}", rows, outputs, inputs), 1, 0,
            2.0 * rows * outputs * inputs, [&](unsigned) { return on_.multiply(stream_, what); });
    release();
    if (small_)
      break;
  }
}

void kernel_bench::rows() {
  const std::uint32_t rows = small_ ? 2 : 512, width = small_ ? 128 : 4096;
  const auto numbers = std::size_t{rows} * width;
  const add_rms_norm::arguments norm{
    {filled(numbers * 4)}, {filled(numbers * 4)}, {filled(width * 4)}, {filled(numbers * 2)}, width, 1e-5f};
  measure(fmt::format("add_rms_norm {} x {}", rows, width), 1, 14.0 * static_cast<double>(numbers), 0,
          [&](unsigned) { return launch(plan_of<add_rms_norm>(rows, width), norm); });
  release();
}

void kernel_bench::attention() {
  const std::uint32_t heads = small_ ? 4 : 32, kv_heads = small_ ? 2 : 8, head_size = 128;
  const std::uint32_t rows = small_ ? 2 : 32, positions = small_ ? 40 : 4096;
  const auto stride = (positions + positions_per_block - 1) / positions_per_block, splits = splits_of(positions);
  std::vector<std::uint32_t> table(std::size_t{rows} * stride);
  std::iota(table.begin(), table.end(), 0u);
  const auto table_at = uploaded(table);
  const auto position_bytes = std::size_t{kv_heads} * 2 * head_size * sizeof(bf16);
  const auto cache = filled(table.size() * positions_per_block * position_bytes);
  const auto row_numbers = std::size_t{heads} * head_size;
  decode_attention_arguments decode{};
  decode.query = {filled(rows * row_numbers * 2)};
  decode.cache = {cache};
  decode.table = {table_at};
  decode.lengths = {uploaded(std::vector<std::uint32_t>(rows, positions))};
  decode.parts = {filled(rows * heads * splits * (head_size + partial_extra) * sizeof(float))};
  decode.heads = heads;
  decode.kv_heads = kv_heads;
  decode.table_stride = stride;
  decode.splits = splits;
  decode.scale = 0.1f;
  measure(fmt::format("decode_attention<{},{}> {} rows after {}", head_size, heads_a_block(heads / kv_heads), rows,
                      positions),
          1, static_cast<double>(std::size_t{rows} * positions * position_bytes), 0,
          [&](unsigned) { return launch(*plan_decode_attention(head_size, heads, kv_heads, rows, splits), decode); });
  std::vector<prefill_tile> tiles;
  for (std::uint32_t row = 0; row < positions; row += 64)
    tiles.push_back({row, std::min(64u, positions - row), row, 0});
  prefill_attention_arguments prefill{};
  prefill.query = {filled(positions * row_numbers * 2)};
  prefill.cache = {cache};
  prefill.tables = {table_at};
  prefill.tiles = {uploaded(tiles)};
  prefill.attended = {filled(positions * row_numbers * 2)};
  prefill.heads = heads;
  prefill.kv_heads = kv_heads;
  prefill.scale = 0.1f;
  measure(fmt::format("prefill_attention<{}> a prompt of {}", head_size, positions), 1, 0,
          2.0 * positions * positions * static_cast<double>(row_numbers), [&](unsigned) {
            return launch(*plan_prefill_attention(head_size, static_cast<std::uint32_t>(tiles.size()), heads),
                          prefill);
          });
  release();
}

} // namespace

json measure_transfers(runtime& on, bool small) {
  const std::size_t bytes = (small ? std::size_t{1} : std::size_t{256}) << 20;
  const auto stream = or_give_up(on.make_stream());
  json out{{"mib", bytes >> 20}};
  auto from = clock_type::now();
  const auto device = or_give_up(on.allocate(bytes));
  out["allocate_ms"] = seconds_since(from) * 1e3;
  from = clock_type::now();
  const auto pinned = or_give_up(on.allocate_pinned(bytes));
  out["pin_ms"] = seconds_since(from) * 1e3;
  must(on.fill(stream, device, some_byte, bytes));
  for (const bool back : {true, false}) {
    const auto copy = [&] {
      must(on.copy(stream, back ? pinned : device, back ? device : pinned, bytes));
      must(on.synchronize(stream));
    };
    copy();
    from = clock_type::now();
    copy();
    out[back ? "to_host_gb_s" : "to_device_gb_s"] = static_cast<double>(bytes) / seconds_since(from) / 1e9;
  }
  must(on.free(device));
  must(on.free_pinned(pinned));
  return out;
}

json measure_kernels(runtime& on, bool small, double peak) {
  kernel_bench bench(on, small, peak);
  bench.products();
  bench.rows();
  bench.attention();
  return bench.results();
}

} // namespace troupe::bench
