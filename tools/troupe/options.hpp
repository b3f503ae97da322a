// What the commands of `troupe` share: the model, the device, and the size of things.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "actors/zmq_access.hpp"
#include "model/backend.hpp"
#include "model/gguf/file.hpp"
#include "protocol/log.hpp"
#include "protocol/messages.hpp"
#include "tools/troupe/engine_settings.hpp"

namespace troupe::cli {

// The size of the KV cache where nobody says. With 12,288 tokens the default model stays under 500 MB in all.
inline constexpr std::uint32_t least_kv_tokens = 12288;
inline constexpr std::uint32_t most_kv_tokens = 65536;

struct engine_flags {
  std::string model = "smollm2";                    ///< --model: a known name, or a path
  std::string device = "cpu";                       ///< --device: "cpu", "cuda" or "cuda-shim"
  std::string backend = "cpu";                      ///< --backend: which CPU implementation, "cpu" or "reference"
  cpu_arithmetic arithmetic = cpu_arithmetic::int8; ///< --cpu-arithmetic
  bool enforce_eager = false;                       ///< --enforce-eager
  bool batch_invariant = false;                     ///< --batch-invariant
  std::uint32_t threads = 0;                        ///< --threads: 0 is all that the process may use
  std::uint32_t tensor_parallel_size = 1;           ///< --tensor-parallel-size
  std::uint32_t pipeline_parallel_size = 1;         ///< --pipeline-parallel-size
  std::uint32_t data_parallel_size = 1;             ///< --data-parallel-size
  std::optional<bool> worker_processes; ///< --workers; where nobody says: threads, but processes on CUDA devices
  std::uint32_t kv_tokens =
    0; ///< --kv-tokens: 0 is the context, but `least_kv_tokens` at least and `most_kv_tokens` at most, or on CUDA devices what is left
  std::optional<double> memory_share;   ///< --gpu-memory-utilization
  std::uint32_t shim_memory_mib = 8192; ///< --shim-memory-mib
  engine_settings settings;
  std::filesystem::path trace; ///< --trace: where a trace is written; empty: none
  zmq_access access;           ///< Of --kv-events
};

struct prompt_flags {
  bool raw = false;         ///< --raw: no chat template
  std::string system;       ///< --system: a message in front, where not empty
  generate_request request; ///< All but its id and prompt.
};

struct run_flags {
  engine_flags engine;
  prompt_flags prompt;
  std::optional<std::string> text; ///< The argument; without it stdin is read to its end.
  bool json = false;
};

struct serve_flags {
  engine_flags engine;
  std::string host = "127.0.0.1";        ///< --host
  std::uint16_t port = 8000;             ///< --port: 0 takes a free one
  std::string api_key_file;              ///< --api-key-file
  bool allow_open_access = false;        ///< --allow-open-access
  std::string tls_cert, tls_key;         ///< --tls-cert, --tls-key
  std::vector<std::string> cors_origins; ///< --cors-origin
  std::uint32_t shutdown_timeout_s = 30; ///< --shutdown-timeout
  std::uint32_t client_timeout_s = 60;   ///< --client-timeout
  std::optional<std::string> zmq;        ///< --zmq: without it no ZeroMQ
  std::string served_model_name;         ///< --served-model-name; empty: as --model says
  std::string admin_zmq; ///< --admin-zmq: where an operator's commands are taken; empty: at `zmq`, if that is local
  std::filesystem::path curve_server_key;   ///< --zmq-curve-server-key: the server's secret key
  std::filesystem::path curve_client_keys;  ///< --zmq-curve-client-keys: public keys of those who may connect
  log_level least_logged = log_level::info; ///< --log-level
  bool log_json = false;                    ///< --log-format
  bool log_prompts = false;                 ///< --log-prompts
};

/// What to ask a server that is running; its counts, if nothing is set.
struct status_flags {
  std::string url = "http://127.0.0.1:8000"; ///< Where its counts are asked for over HTTP,
  std::string zmq;                           ///< unless this is given, where it takes commands, too
  std::filesystem::path curve_key;           ///< --zmq-curve-key: our secret key, where the server wants one,
  std::filesystem::path curve_server;        ///< --zmq-curve-server: and its public one
  bool check = false;
  bool reset_prefix_cache = false;
  bool drain = false;
  bool json = false;
  std::uint32_t timeout_ms = 10000; ///< How long a server may say nothing at all.
};

struct batch_flags {
  engine_flags engine;
  prompt_flags prompt; ///< Defaults for lines that do not say.
  std::filesystem::path input;
  std::filesystem::path output; ///< Empty: the input's name with .out.jsonl
};

struct tokenize_flags {
  std::string model = "smollm2";
  bool json = false;
};

struct inspect_flags {
  std::string model;
  bool json = false;
};

/// `troupe keygen`: a pair of keys for CURVE.
struct keygen_flags {
  std::filesystem::path name; ///< Of the files, without .key (the secret one) and .pub
};

/// `troupe devices`
struct devices_flags {
  unsigned most = 64; ///< --most: of them, from the first on
  bool json = false;
};

/// What `troupe worker` runs: a worker's process, which an engine starts. Not for a person to call.
int worker();

/// Each command prints what is wrong to stderr and returns the exit code.
int run(const run_flags& flags);
int chat(const run_flags& flags);
int serve(const serve_flags& flags);
int batch(const batch_flags& flags);
int status(const status_flags& flags);
int tokenize(const tokenize_flags& flags);
int inspect(const inspect_flags& flags);
int keygen(const keygen_flags& flags);
int devices(const devices_flags& flags);

inline constexpr int exit_failed = 1; ///< The work could not be done; a sentence on stderr says why.
inline constexpr int exit_usage = 2;  ///< The command line is wrong.

/// "smollm2" or a path to a file. Errors: not_found, with what to do.
expected<std::filesystem::path> find_model(const std::string& name_or_path);

/// Tokens that fit in the KV cache, as asked for or by default.
std::uint32_t kv_tokens_of(const engine_flags& flags, std::uint32_t context_length);

/// Opens a model's file without loading it. Errors: those of `find_model` and gguf::open.
expected<std::shared_ptr<const gguf::file>> open_model(const std::string& name_or_path);

/// All of stdin, as it is. Errors: io, limit_exceeded.
expected<std::string> read_stdin();

/// Writes all of it to stdout, now. False when stdout is closed or full.
bool write_stdout(std::string_view text);

/// "troupe: " and the error's sentence, on stderr; returns `exit_failed`.
int report(const error& problem);

} // namespace troupe::cli
