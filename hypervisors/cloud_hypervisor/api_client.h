// SPDX-License-Identifier: Apache-2.0
// Cloud Hypervisor's REST interface: HTTP/1.1 with JSON bodies over a UNIX socket, per its OpenAPI file.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "vfio/base/result.h"

namespace slicebroker::hypervisors::cloud_hypervisor {

struct Answer {
  unsigned status = 0;
  std::string body;

  bool ok() const { return status >= 200 && status < 300; }
};

// One connection per call, closed behind it. Endpoints are named as in the OpenAPI file: "vm.info".
// Errors: kNotFound nobody listens on the socket (reason ENOENT or ECONNREFUSED), kNoAnswer none within `timeout`,
// kFailed with reason CH_CLOSED for an answer that ends early and CH_BAD_ANSWER for one that is not HTTP or over 4 MiB,
// kUsage for a path that is too long for a socket. An HTTP status is not an error here.
class ApiClient {
 public:
  explicit ApiClient(std::string socket) : socket_(std::move(socket)) {}

  Result<Answer> get(std::string_view endpoint, std::chrono::milliseconds timeout) const;
  Result<Answer> put(std::string_view endpoint, std::string body, std::chrono::milliseconds timeout) const;

  const std::string& socket() const { return socket_; }

 private:
  std::string socket_;
};

// The error of an answer that is not ok(): reason CH_HTTP_<status>, and the VMM's own words as causes, outermost first.
// Code kNotFound with reason CH_VM_NOT_CREATED where the VMM has no VM, kHeld for status 409, else kFailed.
Error api_error(std::string tried, std::string subject, const Answer& answer);

}  // namespace slicebroker::hypervisors::cloud_hypervisor
