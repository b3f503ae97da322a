// What NVIDIA's own rules make of the resources of a kernel: for each line `capability registers threads shared-bytes` of stdin, how
// many of its blocks a multiprocessor holds. For tests/gpu/test_compiled_kernels.py.
#include <cuda_occupancy.h>

#include <cstddef>
#include <cstdio>

namespace {

cudaOccDeviceProp device_of(int capability) {
  cudaOccDeviceProp device;
  device.computeMajor = capability / 10;
  device.computeMinor = capability % 10;
  device.maxThreadsPerBlock = 1024;
  device.maxThreadsPerMultiprocessor = 2048;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536;
  device.warpSize = 32;
  device.sharedMemPerBlock = 48 << 10;
  device.reservedSharedMemPerBlock = 1 << 10;
  device.sharedMemPerMultiprocessor = (capability < 90 ? 164 : 228) << 10;
  device.sharedMemPerBlockOptin = device.sharedMemPerMultiprocessor - device.reservedSharedMemPerBlock;
  device.numSms = 1;
  return device;
}

int blocks_of(int capability, int registers, int threads, std::size_t shared_bytes) {
  const auto device = device_of(capability);
  cudaOccFuncAttributes kernel;
  kernel.maxThreadsPerBlock = threads;
  kernel.numRegs = registers;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = shared_bytes;
  kernel.numBlockBarriers = 1;
  cudaOccDeviceState state;
  state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  cudaOccResult result;
  const auto error =
    cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, shared_bytes);
  return error == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1;
}

} // namespace

int main() {
  int capability = 0, registers = 0, threads = 0;
  std::size_t shared_bytes = 0;
  while (std::scanf("%d %d %d %zu", &capability, &registers, &threads, &shared_bytes) == 4)
    std::printf("%d\n", blocks_of(capability, registers, threads, shared_bytes));
}
