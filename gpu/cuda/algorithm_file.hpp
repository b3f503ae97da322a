// Which algorithm of cuBLASLt was taken for a shape, kept in a file of one device's name and one version of the library, so that a
// restart takes the same one without asking.
//
// A line a shape, with a checksum; lines are only ever added, each by one write, so that several processes may share a file. What is
// damaged is left out, and a file of something else is left alone; either is said in a sentence, and nothing is kept of that run
// then. Nothing here needs CUDA.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace troupe::gpu::cuda {

/// As the library has it in memory (cublasLtMatmulAlgo_t), which it may be put back to by the same version.
using algorithm_words = std::array<std::uint64_t, 8>;

struct product_shape {
  std::uint32_t rows = 0, outputs = 0, inputs = 0, stride = 0;
  bool accumulates = false;
  std::string types = "bf16-bf16-f32"; ///< Of rows, weights and sums.
  auto operator<=>(const product_shape&) const = default;
};

class algorithm_file {
public:
  static constexpr std::size_t most_shapes = 65536;

  /// path: empty: nothing is kept. owner: the device's name and the library's version, on one line. says: is given sentences.
  algorithm_file(std::filesystem::path path, std::string owner, std::function<void(const std::string&)> says);

  std::optional<algorithm_words> find(const product_shape& shape) const;
  /// From now on that one; also in the file, if it can be written.
  void add(const product_shape& shape, const algorithm_words& words);
  std::size_t size() const { return known_.size(); }

private:
  void read();
  void give_up(const std::string& why);

  std::filesystem::path path_; ///< Empty: none.
  std::string owner_;
  std::function<void(const std::string&)> says_;
  std::map<product_shape, algorithm_words> known_;
  bool ends_in_a_line_ = true; ///< The file; otherwise a writer was ended in the middle of one.
};

/// $XDG_CACHE_HOME/troupe, or ~/.cache/troupe; empty where there is neither.
std::filesystem::path cache_folder();

/// The file for an owner in a folder: each has its own.
std::filesystem::path algorithm_path(const std::filesystem::path& folder, const std::string& owner);

} // namespace troupe::gpu::cuda
