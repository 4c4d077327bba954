// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/cloud_hypervisor/api_client.h"

#include <sys/un.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "vfio/base/text.h"

namespace slicebroker::hypervisors::cloud_hypervisor {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Protocol = asio::local::stream_protocol;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMaxBody = std::uint64_t{4} << 20;  // the VMM's own limit for requests

Error call_error(ErrorCode code, std::string reason, std::string tried, const std::string& socket, std::string fact) {
  Error error;
  error.code = code;
  error.reason = std::move(reason);
  error.tried = std::move(tried);
  error.subject = "ch:" + socket;
  error.fact = std::move(fact);
  return error;
}

// One exchange with the VMM. Every operation is asynchronous, so that the deadline can cut it off.
class Exchange {
 public:
  Exchange(const std::string& socket_path, std::string tried, std::chrono::milliseconds timeout)
      : path_(socket_path), tried_(std::move(tried)), deadline_(Clock::now() + timeout), socket_(io_) {}

  Result<Answer> run(const http::request<http::string_body>& request) {
    if (path_.size() >= sizeof(sockaddr_un::sun_path)) {
      return fail(call_error(ErrorCode::kUsage, "", tried_, path_, "the path is too long for a UNIX socket"));
    }
    SLICEBROKER_CHECK(step([&](auto done) { socket_.async_connect(Protocol::endpoint(path_), done); }));
    SLICEBROKER_CHECK(step([&](auto done) {
      http::async_write(socket_, request, [done](error_code error, std::size_t) { done(error); });
    }));
    boost::beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMaxBody);
    // The header by itself: Boost 1.74 forgets that Content-Length is over the limit where body bytes come along with
    // the header and both are read in one go.
    SLICEBROKER_CHECK(step([&](auto done) {
      http::async_read_header(socket_, buffer, parser, [done](error_code error, std::size_t) { done(error); });
    }));
    SLICEBROKER_CHECK(step([&](auto done) {
      http::async_read(socket_, buffer, parser, [done](error_code error, std::size_t) { done(error); });
    }));
    auto response = parser.release();
    return Answer{response.result_int(), std::move(response.body())};
  }

 private:
  // Starts an operation and waits for it, until the deadline.
  template <class Start>
  Result<void> step(Start start) {
    std::optional<error_code> result;
    start([&result](error_code error) { result = error; });
    io_.restart();
    io_.run_until(deadline_);
    if (!result) {
      error_code ignored;
      socket_.close(ignored);
      io_.restart();
      io_.run();  // the cancelled operation ends before what it refers to does
      return fail(call_error(ErrorCode::kNoAnswer, "CH_NO_ANSWER", tried_, path_, "no answer in time"));
    }
    if (*result) return fail(failure(*result));
    return {};
  }

  Error failure(const error_code& error) const {
    if (error == asio::error::connection_refused || error == error_code(ENOENT, boost::system::system_category())) {
      auto nobody = os_error(tried_, "ch:" + path_, error.value());
      nobody.code = ErrorCode::kNotFound;
      nobody.hint = "is the VMM running, and is this its --api-socket?";
      return nobody;
    }
    // With a full backlog connect() does not wait on a UNIX socket; the VMM is there and too busy to accept.
    if (error == asio::error::not_connected || error == asio::error::try_again) {
      return call_error(ErrorCode::kNoAnswer, "CH_NO_ANSWER", tried_, path_, "the VMM accepts no connection");
    }
    if (error == http::error::end_of_stream || error == http::error::partial_message ||
        error == asio::error::connection_reset || error == asio::error::broken_pipe) {
      return call_error(ErrorCode::kFailed, "CH_CLOSED", tried_, path_, "the VMM closed the connection");
    }
    if (error.category() == boost::system::system_category()) {
      return os_error(tried_, "ch:" + path_, error.value());
    }
    return call_error(ErrorCode::kFailed, "CH_BAD_ANSWER", tried_, path_, error.message());
  }

  std::string path_;
  std::string tried_;
  Clock::time_point deadline_;
  asio::io_context io_;
  Protocol::socket socket_;
};

http::request<http::string_body> make_request(http::verb verb, std::string_view endpoint) {
  const auto target = "/api/v1/" + std::string(endpoint);
  http::request<http::string_body> request{verb, target, 11};
  request.set(http::field::host, "localhost");
  request.set(http::field::accept, "application/json");
  return request;
}

// The VMM's words: a JSON array of strings since v47, plain text before.
std::vector<std::string> error_chain(const std::string& body) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  std::vector<std::string> chain;
  if (json.is_array()) {
    for (const auto& line : json) {
      if (line.is_string()) chain.push_back(line.get<std::string>());
    }
  }
  if (chain.empty() && !trim(body).empty()) chain.emplace_back(trim(body));
  return chain;
}

}  // namespace

Result<Answer> ApiClient::get(std::string_view endpoint, std::chrono::milliseconds timeout) const {
  const auto request = make_request(http::verb::get, endpoint);
  return Exchange(socket_, "GET " + std::string(endpoint), timeout).run(request);
}

Result<Answer> ApiClient::put(std::string_view endpoint, std::string body, std::chrono::milliseconds timeout) const {
  auto request = make_request(http::verb::put, endpoint);
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = std::move(body);
  request.prepare_payload();
  return Exchange(socket_, "PUT " + std::string(endpoint), timeout).run(request);
}

Error api_error(std::string tried, std::string subject, const Answer& answer) {
  Error error;
  error.reason = "CH_HTTP_" + std::to_string(answer.status);
  error.tried = std::move(tried);
  error.subject = std::move(subject);
  error.fact = "the VMM answered with HTTP status " + std::to_string(answer.status);
  if (answer.status == 409) error.code = ErrorCode::kHeld;
  for (auto& line : error_chain(answer.body)) {
    // v53 answers 404, older ones 500; the words are those of VmError::VmNotCreated, printed and as Rust's Debug.
    if (line.find("VM is not created") != std::string::npos || line.find("VmNotCreated") != std::string::npos) {
      error.code = ErrorCode::kNotFound;
      error.reason = "CH_VM_NOT_CREATED";
    }
    Error cause;
    cause.fact = std::move(line);
    error.causes.push_back(std::move(cause));
  }
  return error;
}

}  // namespace slicebroker::hypervisors::cloud_hypervisor
