#include "tools/troupe/engine_options.hpp"

#include "tools/troupe/choice_option.hpp"

namespace troupe::cli {

void add_engine_options(CLI::App* command, engine_flags& flags) {
  auto* group = command->add_option_group("Engine");
  group->add_option("--model", flags.model, "A model by name (smollm2) or the path of a GGUF file")
    ->capture_default_str();
  group
    ->add_option("--device", flags.device,
                 "Where to compute: cpu, cuda, or cuda-shim (the CUDA kernels, run and checked on the CPU: slow)")
    ->capture_default_str();
  group
    ->add_option("--backend", flags.backend,
                 "Which CPU implementation: cpu (fast) or reference (float32, slow, exact)")
    ->capture_default_str();
  group->add_flag("--enforce-eager", flags.enforce_eager,
                  "On CUDA devices: launch each kernel by itself, and make no graphs");
  group->add_flag("--batch-invariant", flags.batch_invariant,
                  "A request's tokens do not depend on what else is in the batch: always so with --device cpu, and "
                  "at a price on CUDA devices");
  using arithmetic = cpu_arithmetic;
  add_choice<arithmetic>(
    group, "--cpu-arithmetic", flags.arithmetic, {{"int8", arithmetic::int8}, {"bf16", arithmetic::bf16}},
    "How --backend cpu multiplies: int8 (activations of 8 and 12 bits where weights are quantised) "
    "or bf16 (activations and weights in bfloat16)");
  group
    ->add_option(
      "--tensor-parallel-size", flags.tensor_parallel_size,
      "Workers that share every layer of the model, each with a part of its heads and matrices and of --threads")
    ->capture_default_str()
    ->check(CLI::Range(1u, 64u));
  group
    ->add_option("--pipeline-parallel-size", flags.pipeline_parallel_size,
                 "Stages that each have some of the layers; each has --tensor-parallel-size workers")
    ->capture_default_str()
    ->check(CLI::Range(1u, 64u));
  group
    ->add_option("--data-parallel-size", flags.data_parallel_size,
                 "Engines that each have the whole model, a KV cache, and workers as the two options before say")
    ->capture_default_str()
    ->check(CLI::Range(1u, 64u));
  add_choice(group, "--workers", flags.worker_processes, {{"thread", false}, {"process", true}},
             "What a worker is: a thread, or a process, whose crash the engine outlives (with --device cuda always)");
  group->add_option("--threads", flags.threads, "Threads that compute; 0: all that this process may use")
    ->capture_default_str()
    ->check(CLI::Range(0u, 1024u));
  group
    ->add_option("--kv-tokens", flags.kv_tokens,
                 "Tokens that fit in the KV cache of an engine, of all its requests together; 0: the "
                 "model's context, but 12288 at least and 65536 at most; with --device cuda what "
                 "--gpu-memory-utilization leaves")
    ->capture_default_str()
    ->check(CLI::Range(0u, 1u << 28));
  group
    ->add_option("--gpu-memory-utilization", flags.memory_share,
                 "The share of a CUDA device's memory that a worker may have; the KV cache gets what weights and "
                 "buffers leave of it "
                 "[0.9]")
    ->check(CLI::Range(0.01, 1.0));
  group
    ->add_option("--shim-memory-mib", flags.shim_memory_mib,
                 "What --device cuda-shim has instead of a device's memory")
    ->check(CLI::Range(16u, 1u << 19))
    ->group("");
  add_engine_settings(group, flags.settings);
}

} // namespace troupe::cli
