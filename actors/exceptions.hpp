// What becomes of an exception in a handler.
#pragma once

#include <exception>

#include <caf/all.hpp>

namespace troupe {

/// The actor ends, and its reason has the exception's text for those who watch it. CAF's own handler keeps the text
/// to itself and prints it to stdout, which is the answer's place. Call it first in an actor's behavior function.
template <class Self>
void explain_exceptions(Self* self) {
  self->set_exception_handler([](std::exception_ptr& what) -> caf::error {
    try {
      std::rethrow_exception(what);
    } catch (const std::exception& exception) {
      return caf::make_error(caf::sec::runtime_error, std::string(exception.what()));
    } catch (...) {
      return caf::make_error(caf::sec::runtime_error, std::string("an unknown exception"));
    }
  });
}

} // namespace troupe
