#include "gpu/cuda/cublas_lt.hpp"

#include <bit>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <map>
#include <optional>

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "gpu/cuda/algorithm_file.hpp"
#include "gpu/cuda/opened_library.hpp"
#include "gpu/cuda/runtime.hpp"

namespace troupe::gpu::cuda {

/// The functions that are used, by the names that they have in the library.
struct cublas_lt::library {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtMatmulAlgoCheck) algorithm_check;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulDescCreate) description_create;
  decltype(&cublasLtMatmulDescDestroy) description_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) description_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;

  /// The process keeps it open.
  static expected<library> open() {
    // Of the version that this was compiled for: its enumerations are others' in another one.
    auto opened =
      opened_library::open(fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR), "cuBLASLt is needed for prompts");
    if (!opened)
      return tl::unexpected(opened.error());
    library out{};
    opened->find(out.create, "cublasLtCreate");
    opened->find(out.destroy, "cublasLtDestroy");
    opened->find(out.status_string, "cublasLtGetStatusString");
    opened->find(out.matmul, "cublasLtMatmul");
    opened->find(out.version, "cublasLtGetVersion");
    opened->find(out.algorithm_check, "cublasLtMatmulAlgoCheck");
    opened->find(out.heuristic, "cublasLtMatmulAlgoGetHeuristic");
    opened->find(out.description_create, "cublasLtMatmulDescCreate");
    opened->find(out.description_destroy, "cublasLtMatmulDescDestroy");
    opened->find(out.description_set, "cublasLtMatmulDescSetAttribute");
    opened->find(out.layout_create, "cublasLtMatrixLayoutCreate");
    opened->find(out.layout_destroy, "cublasLtMatrixLayoutDestroy");
    opened->find(out.preference_create, "cublasLtMatmulPreferenceCreate");
    opened->find(out.preference_destroy, "cublasLtMatmulPreferenceDestroy");
    opened->find(out.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    if (auto whole = opened->has_all(); !whole)
      return tl::unexpected(whole.error());
    return out;
  }
};

namespace {

/// Destroys what one of the library's functions has made.
template <class Handle, class Destroy>
class owned {
public:
  explicit owned(Destroy destroy) : destroy_(destroy) {}
  ~owned() {
    if (handle_)
      destroy_(handle_);
  }
  owned(const owned&) = delete;
  owned& operator=(const owned&) = delete;
  Handle* operator&() { return &handle_; }
  operator Handle() const { return handle_; }

private:
  Destroy destroy_;
  Handle handle_ = nullptr;
};

} // namespace

struct cublas_lt::state {
  struct plan {
    explicit plan(const library& from)
        : description(from.description_destroy), weights(from.layout_destroy), rows(from.layout_destroy),
          sums(from.layout_destroy) {}
    owned<cublasLtMatmulDesc_t, decltype(library::description_destroy)> description;
    owned<cublasLtMatrixLayout_t, decltype(library::layout_destroy)> weights, rows, sums;
    cublasLtMatmulHeuristicResult_t chosen{};
  };

  library functions{};
  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  std::map<product_shape, std::unique_ptr<plan>> plans;
  std::optional<algorithm_file> algorithms;

  ~state() {
    plans.clear();
    if (workspace)
      cudaFree(workspace);
    if (handle)
      functions.destroy(handle);
  }

  expected<void> check(cublasStatus_t status, const std::string& doing) const {
    if (status == CUBLAS_STATUS_SUCCESS)
      return {};
    return fail(status == CUBLAS_STATUS_ALLOC_FAILED ? errc::out_of_memory : errc::internal,
                fmt::format("cuBLASLt, {}: {}.", doing, functions.status_string(status)));
  }

  expected<const plan*> plan_of(const matrix_product& what) {
    const product_shape shape{what.row_count, what.outputs, what.inputs, what.stride, what.accumulates};
    if (const auto found = plans.find(shape); found != plans.end())
      return found->second.get();
    auto made = std::make_unique<plan>(functions);
    const auto doing = fmt::format("choosing how to multiply {} rows by a matrix of {} x {}", what.row_count,
                                   what.outputs, what.inputs);
    if (auto done = describe(*made, what, doing); !done)
      return tl::unexpected(done.error());
    if (const auto known = algorithms->find(shape); !known || !take(*made, *known)) {
      if (auto done = choose(*made, doing); !done)
        return tl::unexpected(done.error());
      algorithms->add(shape, std::bit_cast<algorithm_words>(made->chosen.algo));
    }
    return (plans[shape] = std::move(made)).get();
  }

  using calls = std::initializer_list<std::function<cublasStatus_t()>>;

  /// One after the other, up to the first that fails.
  expected<void> all_of(const calls& each, const std::string& doing) const {
    for (const auto& call : each)
      if (auto done = check(call(), doing); !done)
        return done;
    return {};
  }

  /// Its matrices are column-major: weights [outputs, inputs] of ours are [inputs, outputs] there, to be transposed.
  expected<void> describe(plan& of, const matrix_product& what, const std::string& doing) const {
    constexpr auto transposed = CUBLAS_OP_T;
    const auto layout = [&](auto& of_matrix, cudaDataType type, std::uint32_t rows, std::uint32_t columns,
                            std::uint32_t stride) {
      return functions.layout_create(&of_matrix, type, rows, columns, stride);
    };
    return all_of({[&] { return functions.description_create(&of.description, CUBLAS_COMPUTE_32F, CUDA_R_32F); },
                   [&] {
                     return functions.description_set(of.description, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                                      sizeof transposed);
                   },
                   [&] { return layout(of.weights, CUDA_R_16BF, what.inputs, what.outputs, what.inputs); },
                   [&] { return layout(of.rows, CUDA_R_16BF, what.inputs, what.row_count, what.inputs); },
                   [&] { return layout(of.sums, CUDA_R_32F, what.outputs, what.row_count, what.stride); }},
                  doing);
  }

  /// What was chosen before, if the library still takes it.
  bool take(plan& of, const algorithm_words& words) const {
    of.chosen.algo = std::bit_cast<cublasLtMatmulAlgo_t>(words);
    cublasLtMatmulHeuristicResult_t found{};
    return functions.algorithm_check(handle, of.description, of.weights, of.rows, of.sums, of.sums, &of.chosen.algo,
                                     &found) == CUBLAS_STATUS_SUCCESS &&
           found.state == CUBLAS_STATUS_SUCCESS && found.workspaceSize <= product_workspace_bytes;
  }

  expected<void> choose(plan& of, const std::string& doing) const {
    owned<cublasLtMatmulPreference_t, decltype(library::preference_destroy)> preference(functions.preference_destroy);
    constexpr std::uint32_t alignment = 16; // Its default is 256.
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t which, const auto& value) {
      return functions.preference_set(preference, which, &value, sizeof value);
    };
    int count = 0;
    auto done = all_of({[&] { return functions.preference_create(&preference); },
                        [&] { return set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, product_workspace_bytes); },
                        [&] { return set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment); },
                        [&] { return set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment); },
                        [&] { return set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment); },
                        [&] { return set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment); },
                        [&] {
                          return functions.heuristic(handle, of.description, of.weights, of.rows, of.sums, of.sums,
                                                     preference, 1, &of.chosen, &count);
                        }},
                       doing);
    if (done && (count == 0 || of.chosen.state != CUBLAS_STATUS_SUCCESS))
      return fail(errc::unsupported, "cuBLASLt, " + doing + ": it knows no way.");
    return done;
  }
};

cublas_lt::cublas_lt(std::unique_ptr<state> state) : state_(std::move(state)) {}

cublas_lt::~cublas_lt() = default;

expected<std::unique_ptr<cublas_lt>> cublas_lt::open() {
  auto functions = library::open();
  if (!functions)
    return tl::unexpected(functions.error());
  auto made = std::make_unique<state>();
  made->functions = *functions;
  if (auto done = made->check(made->functions.create(&made->handle), "opening it"); !done)
    return tl::unexpected(done.error());
  if (const auto result = cudaMalloc(&made->workspace, product_workspace_bytes); result != cudaSuccess)
    return fail(result == cudaErrorMemoryAllocation ? errc::out_of_memory : errc::internal,
                fmt::format("CUDA, allocating {} bytes for cuBLASLt: {}.", product_workspace_bytes,
                            cudaGetErrorString(result)));
  int device = 0;
  cudaGetDevice(&device);
  const auto facts = facts_of(device);
  if (!facts)
    return tl::unexpected(facts.error());
  const auto owner = fmt::format("{}, cuBLASLt {}", facts->name, made->functions.version());
  made->algorithms.emplace(algorithm_path(cache_folder(), owner), owner,
                           [](const std::string& sentence) { std::cerr << "troupe: " + sentence + "\n"; });
  return std::unique_ptr<cublas_lt>(new cublas_lt(std::move(made)));
}

expected<void> cublas_lt::multiply(cudaStream_t on, const matrix_product& what) {
  const auto plan = state_->plan_of(what);
  if (!plan)
    return tl::unexpected(plan.error());
  const auto& how = **plan;
  const float one = 1, beta = what.accumulates ? 1 : 0;
  auto* sums = reinterpret_cast<void*>(what.sums);
  return state_->check(
    state_->functions.matmul(state_->handle, how.description, &one, reinterpret_cast<const void*>(what.weights),
                             how.weights, reinterpret_cast<const void*>(what.rows), how.rows, &beta, sums, how.sums,
                             sums, how.sums, &how.chosen.algo, state_->workspace, product_workspace_bytes, on),
    fmt::format("multiplying {} rows by a matrix of {} x {}", what.row_count, what.outputs, what.inputs));
}

} // namespace troupe::gpu::cuda
