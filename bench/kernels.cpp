// Each kernel of the CPU backend by itself, on one thread, with its share of what the machine can do at most:
//   build/bench/kernels [--benchmark_filter=REGEX] [--benchmark_format=json]
//
// `of_peak` compares the products a second with those that the same thread makes out of registers (cpu/peaks.hpp; a
// product with an activation of two bytes counts as two); `of_reading` compares the bytes of weights a second with
// what it reads from memory. TROUPE_CPU_ISA chooses another instruction set.
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "cpu/bf16_kernels.hpp"
#include "cpu/kernels.hpp"
#include "cpu/peaks.hpp"

namespace {

using namespace troupe::cpu;
using troupe::kv_cache_dtype;

constexpr unsigned panels = 96; // 1,536 outputs, as a layer of the default model has at most.

const kernel_table& kernels() {
  static const kernel_table& table = kernels_for(chosen_instruction_set().value());
  return table;
}

const machine_peaks& peaks() {
  static const machine_peaks measured = measure_peaks(chosen_instruction_set().value(), 1, 64u << 20);
  return measured;
}

/// Counts of work for each iteration, as shares of the limits.
void report(benchmark::State& state, double byte_products, double float_products, double bytes) {
  const auto rate = [](double share) {
    return benchmark::Counter(share, benchmark::Counter::kIsIterationInvariantRate);
  };
  if (byte_products > 0)
    state.counters["of_peak"] = rate(byte_products / peaks().byte_products);
  if (float_products > 0)
    state.counters["of_float_peak"] = rate(float_products / peaks().float_products);
  if (bytes > 0)
    state.counters["of_reading"] = rate(bytes / peaks().read_bytes);
  state.counters["products/s"] = rate(byte_products + float_products);
}

std::vector<float> numbers(std::size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (auto& x : out)
    x = normal(random);
  return out;
}

template <class T>
class aligned {
public:
  explicit aligned(std::size_t count) : memory_(count * sizeof(T) + 64) {}
  T* get() {
    void* at = memory_.data();
    std::size_t space = memory_.size();
    return static_cast<T*>(std::align(64, memory_.size() - 64, at, space));
  }

private:
  std::vector<std::byte> memory_;
};

template <unsigned Bytes>
void quantise_row(const float* x, std::size_t columns, activation_block<Bytes>* tile, unsigned row) {
  if constexpr (Bytes == 1)
    kernels().quantise_one_byte(x, columns, tile, row);
  else
    kernels().quantise_two_bytes(x, columns, tile, row);
}

template <unsigned Bytes>
void multiply(const panel& weights, const activation_block<Bytes>* tile, unsigned rows, const product_target& to) {
  if constexpr (Bytes == 1)
    kernels().matmul_one_byte(weights, tile, rows, to);
  else
    kernels().matmul_two_bytes(weights, tile, rows, to);
}

/// One tile of rows with `panels` panels of weights.
template <panel_kind Kind, unsigned Bytes>
void products(benchmark::State& state) {
  const auto rows = static_cast<unsigned>(state.range(0)), columns = static_cast<unsigned>(state.range(1));
  const unsigned blocks = columns / block_columns;
  const std::size_t quants = std::size_t{blocks} * quant_bytes(Kind),
                    scales = std::size_t{blocks} * scale_vectors(Kind) * 32;
  aligned<std::uint8_t> weights((quants + scales) * panels);
  for (std::size_t i = 0; i < (quants + scales) * panels; ++i)
    weights.get()[i] = static_cast<std::uint8_t>(i * 37 % 53);
  aligned<activation_block<Bytes>> tile(blocks);
  const auto x = numbers(std::size_t{tile_rows} * columns);
  for (unsigned r = 0; r < tile_rows; ++r)
    quantise_row<Bytes>(x.data() + r * columns, columns, tile.get(), r);
  std::vector<float> out(std::size_t{tile_rows} * panels * panel_columns);
  for (auto _ : state) {
    for (unsigned p = 0; p < panels; ++p) {
      const auto* at = weights.get() + p * (quants + scales);
      multiply<Bytes>(
        {.kind = Kind, .half_scales = true, .columns = columns, .quants = at, .scales = at + quants}, tile.get(),
        rows, {.out = out.data() + p * panel_columns, .stride = panels * panel_columns, .outputs = panel_columns});
    }
    benchmark::DoNotOptimize(out.data());
  }
  const double macs = double{panels} * panel_columns * columns * rows;
  report(state, macs * Bytes, 0, static_cast<double>((quants + scales) * panels));
}

/// Any number of rows with `panels` panels, in the arithmetic of bfloat16.
template <panel_kind Kind>
void bf16_products(benchmark::State& state) {
  const auto& with = bf16_kernels_for(chosen_instruction_set().value());
  const auto rows = static_cast<unsigned>(state.range(0)), columns = static_cast<unsigned>(state.range(1));
  const std::size_t quants = columns / block_columns * quant_bytes(Kind),
                    scales = columns / block_columns * scale_vectors(Kind) * 32;
  aligned<std::uint8_t> weights((quants + scales) * panels);
  for (std::size_t i = 0; i < (quants + scales) * panels; ++i)
    weights.get()[i] = static_cast<std::uint8_t>(i * 37 % 53);
  const std::size_t tile = bf16_blocks(columns) * bf16_tile_numbers * with.number_bytes;
  aligned<std::byte> tiles((rows + tile_rows - 1) / tile_rows * tile), scratch(bf16_scratch_bytes);
  const auto x = numbers(columns);
  for (unsigned r = 0; r < rows; ++r)
    with.round(x.data(), columns, tiles.get() + r / tile_rows * tile, r % tile_rows);
  std::vector<float> out(std::size_t{rows} * panels * panel_columns);
  for (auto _ : state) {
    for (unsigned p = 0; p < panels; p += bf16_panels) {
      panel some[bf16_panels];
      for (unsigned i = 0; i < bf16_panels; ++i) {
        const auto* at = weights.get() + (p + i) * (quants + scales);
        some[i] = {.kind = Kind, .half_scales = true, .columns = columns, .quants = at, .scales = at + quants};
      }
      with.matmul(some, bf16_panels, tiles.get(), rows,
                  {.out = out.data() + p * panel_columns,
                   .stride = panels * panel_columns,
                   .outputs = bf16_panels * panel_columns},
                  scratch.get());
    }
    benchmark::DoNotOptimize(out.data());
  }
  report(state, 0, double{panels} * panel_columns * columns * rows, static_cast<double>((quants + scales) * panels));
}

template <unsigned Bytes>
void quantise(benchmark::State& state) {
  const auto columns = static_cast<std::size_t>(state.range(0));
  const auto x = numbers(columns * tile_rows);
  aligned<activation_block<Bytes>> tile(columns / block_columns);
  for (auto _ : state)
    for (unsigned r = 0; r < tile_rows; ++r)
      quantise_row<Bytes>(x.data() + r * columns, columns, tile.get(), r);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(columns * tile_rows));
}

/// `rows` rows with three heads each after `context` positions, heads of 64.
template <kv_cache_dtype Dtype>
void attention(benchmark::State& state) {
  constexpr unsigned group = 3;
  const auto rows = static_cast<unsigned>(state.range(0)), context = static_cast<unsigned>(state.range(1));
  const kv_shape shape{.head_size = 64, .padded = 64, .dtype = Dtype};
  const unsigned blocks = (context + rows + 15) / 16;
  aligned<std::byte> kv(shape.bytes() * blocks);
  std::vector<std::uint32_t> ids(blocks);
  for (unsigned b = 0; b < blocks; ++b)
    ids[b] = b;
  const auto x = numbers(std::size_t{context + rows} * 64);
  for (unsigned p = 0; p < context + rows; ++p)
    kernels().store_kv(x.data() + p * 64, x.data() + p * 64, shape, p % 16, kv.get() + p / 16 * shape.bytes());
  const auto queries = numbers(rows * group * 64);
  std::vector<float> out(rows * group * 64);
  aligned<float> scratch(attention_scratch(shape));
  for (auto _ : state)
    kernels().attention({.shape = shape,
                         .queries = queries.data(),
                         .out = out.data(),
                         .row_stride = group * 64,
                         .rows = rows,
                         .group = group,
                         .first_position = context,
                         .scale = 0.125f,
                         .kv = kv.get(),
                         .block_stride = shape.bytes(),
                         .blocks = ids.data(),
                         .scratch = scratch.get()});
  const double seen = double{1} * rows * context + rows * (rows + 1) / 2.0;
  report(state, 0, 2 * seen * group * 64, static_cast<double>(shape.bytes()) * blocks);
}

void rms_norm(benchmark::State& state) {
  const auto x = numbers(576), w = numbers(576);
  std::vector<float> out(576);
  for (auto _ : state)
    kernels().rms_norm(x.data(), w.data(), 576, 1e-5f, out.data());
  state.SetItemsProcessed(state.iterations() * 576);
}

void swiglu(benchmark::State& state) {
  const auto gate = numbers(1536), up = numbers(1536);
  std::vector<float> out(1536);
  for (auto _ : state)
    kernels().swiglu(gate.data(), up.data(), 1536, out.data());
  state.SetItemsProcessed(state.iterations() * 1536);
}

void rope(benchmark::State& state) {
  auto x = numbers(576);
  const std::vector<float> cos(64, 0.8f), sin(64, 0.6f);
  for (auto _ : state)
    kernels().rope(x.data(), 9, 64, {.cos = cos.data(), .sin = sin.data(), .size = 64, .interleaved = true});
  state.SetItemsProcessed(state.iterations() * 576);
}

template <kv_cache_dtype Dtype>
void store_kv(benchmark::State& state) {
  const auto x = numbers(64);
  const kv_shape shape{.head_size = 64, .padded = 64, .dtype = Dtype};
  aligned<std::byte> kv(shape.bytes());
  for (auto _ : state)
    for (unsigned p = 0; p < 16; ++p)
      kernels().store_kv(x.data(), x.data(), shape, p, kv.get());
  state.SetItemsProcessed(state.iterations() * 16 * 128);
}

const std::vector<std::vector<std::int64_t>> shapes{{1, 2, 3, 4, 5, 8, 12, 13, 16}, {576, 1536}};
BENCHMARK(products<panel_kind::q4, 1>)->ArgsProduct(shapes)->ArgNames({"rows", "columns"});
BENCHMARK(products<panel_kind::q4, 2>)->ArgsProduct(shapes)->ArgNames({"rows", "columns"});
BENCHMARK(products<panel_kind::q8, 1>)->ArgsProduct(shapes)->ArgNames({"rows", "columns"});
BENCHMARK(products<panel_kind::q8, 2>)->ArgsProduct(shapes)->ArgNames({"rows", "columns"});
BENCHMARK(bf16_products<panel_kind::q4>)
  ->ArgsProduct({{1, 2, 4, 8, 12, 16, 32, 128, 512}, {576, 1536}})
  ->ArgNames({"rows", "columns"});
BENCHMARK(bf16_products<panel_kind::q8>)->ArgsProduct({{1, 16, 512}, {1536}})->ArgNames({"rows", "columns"});
BENCHMARK(quantise<1>)->Arg(576)->Arg(1536);
BENCHMARK(quantise<2>)->Arg(576)->Arg(1536);
const std::vector<std::vector<std::int64_t>> contexts{{1, 5}, {64, 512, 4096}};
BENCHMARK(attention<kv_cache_dtype::bf16>)->ArgsProduct(contexts)->ArgNames({"rows", "context"});
BENCHMARK(attention<kv_cache_dtype::int8>)->ArgsProduct(contexts)->ArgNames({"rows", "context"});
BENCHMARK(rms_norm);
BENCHMARK(swiglu);
BENCHMARK(rope);
BENCHMARK(store_kv<kv_cache_dtype::bf16>);
BENCHMARK(store_kv<kv_cache_dtype::int8>);

} // namespace

BENCHMARK_MAIN();
