// All of a model's weights as the threaded backend keeps them: matrices packed, vectors in float32, the embedding in
// its file.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpu/packed_matrix.hpp"
#include "cpu/page_memory.hpp"
#include "cpu/thread_pool.hpp"
#include "model/architecture.hpp"

namespace troupe::cpu {

class weights {
public:
  /// Packs with all threads, each the shares of cpu/work_shares.hpp that it will read, then gives the file's pages back. Errors: out_of_memory, unsupported.
  static expected<weights> load(std::shared_ptr<const gguf::file> file, const model_program& program,
                                thread_pool& pool);

  /// Names are those of the program's operations; the pointers stay valid.
  const packed_matrix& matrix(const std::string& name) const { return matrices_.at(name); }
  const float* vector(const std::string& name) const { return vectors_.at(name).data(); }
  const gguf::tensor* stored(const std::string& name) const { return file_->find_tensor(name); }
  std::size_t bytes() const { return memory_.size(); }

private:
  void pack(thread_pool& pool);

  std::shared_ptr<const gguf::file> file_;
  std::map<std::string, packed_matrix> matrices_;
  std::map<std::string, std::vector<float>> vectors_;
  page_memory memory_;
};

} // namespace troupe::cpu
