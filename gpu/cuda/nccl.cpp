#include "gpu/cuda/nccl.hpp"

#include <fmt/format.h>

#if __has_include(<nccl.h>)

#include <cstring>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "gpu/cuda/opened_library.hpp"

namespace troupe::gpu::cuda {

namespace {

constexpr int oldest_version =
  NCCL_VERSION(2, 18, 0); ///< From there on groups that do not block can be aborted at any point.

/// The functions that are used, by the names that they have in the library.
struct nccl_library {
  decltype(&ncclGetVersion) version;
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetLastError) last_error;
  decltype(&ncclGetUniqueId) unique_id;
  decltype(&ncclCommInitRankConfig) init_rank;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclCommAbort) abort;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) receive;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;

  /// comm: whose last error is wanted, or null. Work that goes on is no error.
  expected<void> check(ncclResult_t result, ncclComm_t comm, const std::string& doing) const {
    if (result == ncclSuccess || result == ncclInProgress)
      return {};
    const bool misused = result == ncclInvalidArgument || result == ncclInvalidUsage;
    const char* more = last_error(comm);
    return fail(
      misused ? errc::invalid_argument : errc::unavailable,
      fmt::format("NCCL, {}: {}{}{}.", doing, error_string(result), more && *more ? "; " : "", more ? more : ""));
  }

  /// The process keeps it open.
  static expected<nccl_library> open() {
    auto opened = opened_library::open(fmt::format("libnccl.so.{}", NCCL_MAJOR), "NCCL is needed for several ranks");
    if (!opened)
      return tl::unexpected(opened.error());
    nccl_library out{};
    opened->find(out.version, "ncclGetVersion");
    opened->find(out.error_string, "ncclGetErrorString");
    opened->find(out.last_error, "ncclGetLastError");
    opened->find(out.unique_id, "ncclGetUniqueId");
    opened->find(out.init_rank, "ncclCommInitRankConfig");
    opened->find(out.async_error, "ncclCommGetAsyncError");
    opened->find(out.abort, "ncclCommAbort");
    opened->find(out.all_reduce, "ncclAllReduce");
    opened->find(out.all_gather, "ncclAllGather");
    opened->find(out.send, "ncclSend");
    opened->find(out.receive, "ncclRecv");
    opened->find(out.group_start, "ncclGroupStart");
    opened->find(out.group_end, "ncclGroupEnd");
    if (auto whole = opened->has_all(); !whole)
      return tl::unexpected(whole.error());
    int version = 0;
    if (auto done = out.check(out.version(&version), nullptr, "asking for its version"); !done)
      return tl::unexpected(done.error());
    if (version < oldest_version)
      return fail(errc::unavailable,
                  fmt::format("NCCL of version {} is too old: {} or later is needed.", version, oldest_version));
    return out;
  }

  static expected<const nccl_library*> get() {
    static const auto opened = open();
    if (!opened)
      return tl::unexpected(opened.error());
    return &*opened;
  }
};

class nccl_rank final : public collectives {
public:
  nccl_rank(const nccl_library& nccl, stream_finder stream_of, unsigned rank, unsigned ranks)
      : nccl_(nccl), stream_of_(std::move(stream_of)), rank_(rank), ranks_(ranks) {}
  ~nccl_rank() override { static_cast<void>(abort()); } // There is nobody left to tell.

  expected<void> join(const group_id& id) {
    ncclUniqueId theirs;
    static_assert(sizeof theirs == sizeof id);
    std::memcpy(&theirs, id.data(), sizeof theirs);
    ncclConfig_t how = NCCL_CONFIG_INITIALIZER;
    how.blocking = 0;
    return check(nccl_.init_rank(&comm_, static_cast<int>(ranks_), theirs, static_cast<int>(rank_), &how),
                 fmt::format("joining a group as rank {} of {}", rank_, ranks_));
  }

  unsigned rank() const override { return rank_; }
  unsigned size() const override { return ranks_; }

  expected<group_state> state() override {
    if (auto usable = check_usable(); !usable)
      return tl::unexpected(usable.error());
    auto told = ncclSuccess;
    auto asked = check(nccl_.async_error(comm_, &told), "asking for the state of a group");
    if (asked)
      asked = check(told, "in a group of ranks");
    if (!asked)
      return fail(errc::unavailable, asked.error().message);
    return told == ncclInProgress ? group_state::in_progress : group_state::ready;
  }

  expected<void> all_reduce(stream_id on, address from, address to, std::size_t count) override {
    return call(on, fmt::format("adding up {} numbers over {} ranks", count, ranks_), [&](cudaStream_t stream) {
      return nccl_.all_reduce(pointer(from), pointer(to), count, ncclFloat32, ncclSum, comm_, stream);
    });
  }
  expected<void> all_gather(stream_id on, address from, address to, std::size_t bytes) override {
    return call(on, fmt::format("gathering {} bytes of each of {} ranks", bytes, ranks_), [&](cudaStream_t stream) {
      return nccl_.all_gather(pointer(from), pointer(to), bytes, ncclUint8, comm_, stream);
    });
  }
  expected<void> send(stream_id on, address from, std::size_t bytes, unsigned to) override {
    return call(on, fmt::format("sending {} bytes to rank {}", bytes, to), [&](cudaStream_t stream) {
      return nccl_.send(pointer(from), bytes, ncclUint8, static_cast<int>(to), comm_, stream);
    });
  }
  expected<void> receive(stream_id on, address to, std::size_t bytes, unsigned from) override {
    return call(on, fmt::format("receiving {} bytes from rank {}", bytes, from), [&](cudaStream_t stream) {
      return nccl_.receive(pointer(to), bytes, ncclUint8, static_cast<int>(from), comm_, stream);
    });
  }

  expected<void> begin_together() override {
    if (auto usable = check_usable(); !usable)
      return usable;
    return check(nccl_.group_start(), "beginning calls that are made together");
  }
  expected<void> end_together() override {
    if (auto usable = check_usable(); !usable)
      return usable;
    return check(nccl_.group_end(), "ending calls that are made together");
  }

  expected<void> abort() override {
    if (!comm_)
      return {};
    const auto aborted = std::exchange(comm_, nullptr); // Whatever comes of it, it is not used any more.
    return nccl_.check(nccl_.abort(aborted), nullptr, "aborting a group");
  }

private:
  static void* pointer(address at) { return reinterpret_cast<void*>(at); }

  expected<void> check(ncclResult_t result, const std::string& doing) const {
    return nccl_.check(result, comm_, doing);
  }
  expected<void> check_usable() const {
    return comm_ ? expected<void>{} : fail(errc::unavailable, "This rank has aborted its group.");
  }

  template <class Call>
  expected<void> call(stream_id on, const std::string& doing, Call call) {
    if (auto usable = check_usable(); !usable)
      return usable;
    const auto stream = stream_of_(on);
    if (!stream)
      return tl::unexpected(stream.error());
    auto capturing = cudaStreamCaptureStatusNone;
    if (const auto asked = cudaStreamIsCapturing(*stream, &capturing); asked != cudaSuccess)
      return fail(errc::internal, fmt::format("CUDA, {}: {}.", doing, cudaGetErrorString(asked)));
    if (capturing != cudaStreamCaptureStatusNone)
      return fail(errc::invalid_argument, "A group of ranks is called on a stream that is being captured.");
    return check(call(*stream), doing);
  }

  const nccl_library& nccl_;
  const stream_finder stream_of_;
  const unsigned rank_, ranks_;
  ncclComm_t comm_ = nullptr; ///< None once it was aborted.
};

} // namespace

expected<group_id> make_nccl_id() {
  const auto nccl = nccl_library::get();
  if (!nccl)
    return tl::unexpected(nccl.error());
  ncclUniqueId made;
  if (auto done = (*nccl)->check((*nccl)->unique_id(&made), nullptr, "making the id of a group"); !done)
    return tl::unexpected(done.error());
  group_id id;
  std::memcpy(id.data(), &made, sizeof made);
  return id;
}

expected<std::unique_ptr<collectives>> join_nccl_group(const group_id& id, unsigned rank, unsigned ranks,
                                                       stream_finder stream_of) {
  if (rank >= ranks)
    return fail(errc::invalid_argument, fmt::format("A group of {} ranks has no rank {}.", ranks, rank));
  const auto nccl = nccl_library::get();
  if (!nccl)
    return tl::unexpected(nccl.error());
  auto made = std::make_unique<nccl_rank>(**nccl, std::move(stream_of), rank, ranks);
  return made->join(id).map([&] { return std::unique_ptr<collectives>(std::move(made)); });
}

} // namespace troupe::gpu::cuda

#else

namespace troupe::gpu::cuda {

namespace {

tl::unexpected<error> without_nccl() {
  return fail(errc::unavailable, "Several ranks need NCCL, and nccl.h was not there when this was compiled.");
}

} // namespace

expected<group_id> make_nccl_id() {
  return without_nccl();
}

expected<std::unique_ptr<collectives>> join_nccl_group(const group_id&, unsigned, unsigned, stream_finder) {
  return without_nccl();
}

} // namespace troupe::gpu::cuda

#endif
