// SPDX-License-Identifier: Apache-2.0
#include "vfio/base/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace slicebroker {

std::string_view name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFailed: return "FAILED";
    case ErrorCode::kUsage: return "USAGE";
    case ErrorCode::kNotFound: return "NOT_FOUND";
    case ErrorCode::kHeld: return "HELD";
    case ErrorCode::kRefused: return "REFUSED";
    case ErrorCode::kNoAnswer: return "NO_ANSWER";
    case ErrorCode::kHostChanged: return "HOST_CHANGED";
    case ErrorCode::kDrift: return "DRIFT";
  }
  return "FAILED";
}

std::string errno_name(int os_errno) {
  const char* text = strerrorname_np(os_errno);
  return text != nullptr ? text : "errno " + std::to_string(os_errno);
}

Error os_error(std::string tried, std::string subject, int os_errno) {
  const bool missing = os_errno == ENOENT || os_errno == ENODEV;
  Error error;
  error.code = missing ? ErrorCode::kNotFound : ErrorCode::kFailed;
  error.reason = errno_name(os_errno);
  error.tried = std::move(tried);
  error.subject = std::move(subject);
  error.fact = strerrordesc_np(os_errno) != nullptr ? strerrordesc_np(os_errno) : "unknown error";
  error.os_errno = os_errno;
  return error;
}

Error caused_by(std::string tried, std::string subject, Error cause) {
  Error error;
  error.code = cause.code;
  error.reason = cause.reason;
  error.tried = std::move(tried);
  error.subject = std::move(subject);
  error.hint = std::exchange(cause.hint, {});
  error.host = std::exchange(cause.host, std::nullopt);
  error.causes.push_back(std::move(cause));
  return error;
}

}  // namespace slicebroker
