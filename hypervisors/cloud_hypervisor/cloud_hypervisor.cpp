// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/cloud_hypervisor/cloud_hypervisor.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "hypervisors/cloud_hypervisor/arguments.h"

namespace slicebroker::hypervisors::cloud_hypervisor {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// The object in a body; nullopt for anything else.
std::optional<json> parse_object(const std::string& body) {
  auto value = json::parse(body, nullptr, false);
  if (!value.is_object()) return std::nullopt;
  return value;
}

std::string text_member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

Error bad_answer(std::string tried, std::string subject, std::string fact) {
  Error error;
  error.reason = "CH_BAD_ANSWER";
  error.tried = std::move(tried);
  error.subject = std::move(subject);
  error.fact = std::move(fact);
  return error;
}

bool in_configuration(const json& info, const std::string& id) {
  const auto config = info.find("config");
  if (config == info.end() || !config->is_object()) return false;
  const auto devices = config->find("devices");
  if (devices == config->end() || !devices->is_array()) return false;
  return std::any_of(devices->begin(), devices->end(),
                     [&](const json& device) { return device.is_object() && text_member(device, "id") == id; });
}

bool in_device_tree(const json& info, const std::string& id) {
  const auto tree = info.find("device_tree");
  return tree != info.end() && tree->is_object() && tree->contains(id);
}

// Past the deadline: the guest has not let go, or the VMM has told nothing.
Error not_in_time(const std::string& id, std::string subject, std::optional<Error> silence) {
  auto tried = "take device " + id + " back";
  Error error;
  if (silence) {
    error = caused_by(std::move(tried), std::move(subject), std::move(*silence));
    error.code = ErrorCode::kNoAnswer;
    return error;
  }
  error.code = ErrorCode::kNoAnswer;
  error.reason = "GUEST_KEEPS_DEVICE";
  error.tried = std::move(tried);
  error.subject = std::move(subject);
  error.fact = "the guest has not ejected it in time; it may do so later";
  error.hint = "is the guest's system up, and is the device unused in it? Stopping the VM releases it too";
  return error;
}

// Whether another look may tell more: a VMM that is busy answers late, one that ends breaks off and is gone next time.
bool look_again(const Error& error) {
  return error.code == ErrorCode::kNoAnswer || error.code == ErrorCode::kNotFound || error.reason == "CH_CLOSED";
}

milliseconds until(Clock::time_point end) {
  return std::chrono::ceil<milliseconds>(end - Clock::now());
}

}  // namespace

CloudHypervisor::CloudHypervisor(std::string socket) : CloudHypervisor(std::move(socket), Timing{}) {}

CloudHypervisor::CloudHypervisor(std::string socket, Timing timing) : client_(std::move(socket)), timing_(timing) {}

Result<CloudHypervisor::Ping> CloudHypervisor::ping() const {
  SLICEBROKER_TRY(const auto answer, client_.get("vmm.ping", timing_.query));
  if (!answer.ok()) return fail(api_error("GET vmm.ping", subject(), answer));
  const auto body = parse_object(answer.body);
  if (!body) return fail(bad_answer("GET vmm.ping", subject(), "the answer is no JSON object"));
  Ping ping;
  ping.version = Version::parse(text_member(*body, "build_version"));
  if (!ping.version) ping.version = Version::parse(text_member(*body, "version"));
  // Not SO_PEERCRED: a socket that a launcher opened and passed on bears the launcher's pid.
  if (const auto pid = body->find("pid"); pid != body->end() && pid->is_number_integer()) {
    const auto number = pid->get<std::int64_t>();
    if (number > 0 && number <= std::numeric_limits<pid_t>::max()) ping.pid = static_cast<pid_t>(number);
  }
  return ping;
}

Result<Version> CloudHypervisor::version() {
  SLICEBROKER_TRY(const auto pong, ping());
  if (!pong.version) return fail(bad_answer("GET vmm.ping", subject(), "the answer has no version"));
  return *pong.version;
}

Result<VirtualMachine> CloudHypervisor::find_vm() {
  SLICEBROKER_TRY(const auto pong, ping());
  SLICEBROKER_TRY(const auto answer, client_.get("vm.info", timing_.query));
  if (!answer.ok()) {
    auto error = api_error("GET vm.info", subject(), answer);
    if (error.code == ErrorCode::kNotFound) error.hint = "create the VM first (vm.create)";
    return fail(std::move(error));
  }
  const auto info = parse_object(answer.body);
  if (!info) return fail(bad_answer("GET vm.info", subject(), "the answer is no JSON object"));
  const auto state = text_member(*info, "state");
  VirtualMachine vm;
  vm.name = client_.socket();
  vm.running = state == "Running" || state == "Paused" || state == "BreakPoint";
  vm.vmm_pid = pong.pid;
  return vm;
}

Result<GuestDevice> CloudHypervisor::attach(const Attachment& attachment) {
  SLICEBROKER_TRY(const auto answer, client_.put("vm.add-device", add_device_body(attachment), timing_.attach));
  if (!answer.ok()) return fail(api_error("PUT vm.add-device", subject(), answer));
  GuestDevice device;
  if (const auto body = parse_object(answer.body)) device.guest_address = text_member(*body, "bdf");
  return device;
}

Result<CloudHypervisor::Presence> CloudHypervisor::presence(const std::string& id, milliseconds timeout) const {
  auto answer = client_.get("vm.info", timeout);
  if (!answer) {
    if (answer.error().code == ErrorCode::kNotFound) return Presence::kAbsent;  // the VMM is gone
    return fail(std::move(answer).error());
  }
  if (!answer->ok()) {
    auto error = api_error("GET vm.info", subject(), *answer);
    if (error.code == ErrorCode::kNotFound) return Presence::kAbsent;
    return fail(std::move(error));
  }
  const auto info = parse_object(answer->body);
  if (!info) return fail(bad_answer("GET vm.info", subject(), "the answer is no JSON object"));
  if (in_configuration(*info, id)) return Presence::kPresent;
  return in_device_tree(*info, id) ? Presence::kLeaving : Presence::kAbsent;
}

Result<void> CloudHypervisor::request_removal(const std::string& id, Presence seen, milliseconds timeout) const {
  const auto body = json{{"id", id}}.dump(-1, ' ', false, json::error_handler_t::replace);
  SLICEBROKER_TRY(const auto answer, client_.put("vm.remove-device", body, timeout));
  if (answer.ok()) return {};
  // For a device that is leaving already, v53.0 answers that it knows no such id, older ones ignore the request and
  // newer ones repeat the first: only for a device that is still configured is a refusal news.
  if (seen == Presence::kLeaving) return {};
  SLICEBROKER_TRY(const auto now, presence(id, timeout));
  if (now != Presence::kPresent) return {};
  return fail(api_error("PUT vm.remove-device", subject(), answer));
}

Result<void> CloudHypervisor::detach(const Attachment& attachment, milliseconds deadline) {
  const auto end = Clock::now() + deadline;
  std::optional<Clock::time_point> asked;
  std::optional<Error> silence;
  for (;;) {
    // Even past the deadline a healthy VMM gets the time to answer once.
    const auto timeout = std::min(timing_.query, std::max(until(end), milliseconds{1'000}));
    auto where = presence(attachment.id, timeout);
    if (where && *where == Presence::kAbsent) return {};
    Result<void> step;
    if (!where) {
      step = fail(std::move(where).error());
    } else if (!asked || (until(end) > milliseconds{0} && Clock::now() >= *asked + timing_.ask_again)) {
      asked = Clock::now();
      step = request_removal(attachment.id, *where, timeout);
      if (step) continue;  // a guest may be quick, and a VM that has not booted has let go by now
    }
    silence.reset();
    if (!step) {
      if (!look_again(step.error())) return step;
      silence = std::move(step).error();
    }
    if (until(end) <= milliseconds{0}) return fail(not_in_time(attachment.id, subject(), std::move(silence)));
    std::this_thread::sleep_for(std::min(until(end), timing_.look));
  }
}

Result<bool> CloudHypervisor::has(const Attachment& attachment) {
  SLICEBROKER_TRY(const auto where, presence(attachment.id, timing_.query));
  return where != Presence::kAbsent;
}

}  // namespace slicebroker::hypervisors::cloud_hypervisor
