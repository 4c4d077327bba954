// SPDX-License-Identifier: Apache-2.0
// Holders that are waited for, and devices that do not answer.
#include <algorithm>
#include <thread>

#include "broker/service/announcement.h"
#include "broker/service/broker.h"
#include "vfio/host/ask_child.h"

namespace slicebroker::broker {
namespace {

constexpr std::string_view kOwn = "slicebroker";  // who quarantines what did not answer

// The function that a silence is about: in its path, or in the value that was being written.
std::optional<PciAddress> silent_function(const Error& silence) {
  if (const auto address = PciAddress::parse(vfio::device_in(silence.subject))) return address;
  const auto quote = silence.tried.find('\'');
  if (quote == std::string::npos) return std::nullopt;
  return PciAddress::parse(std::string_view(silence.tried).substr(quote + 1, silence.tried.rfind('\'') - quote - 1));
}

LeasedDevice silent_device(const Lease& lease, const Error& silence) {
  const auto address = silent_function(silence);
  const auto key = address ? device_key(*address) : "";
  for (const auto& device : lease.devices) {
    if (device.device == key) return device;
  }
  const LeasedDevice first = lease.devices.empty() ? LeasedDevice{} : lease.devices.front();
  return address ? LeasedDevice{key, first.gpu} : first;
}

// Whether each step's part of the host is as it was before the lease.
bool is_restored(const Lease& lease, const vfio::Host& host) {
  return std::all_of(lease.steps.begin(), lease.steps.end(), [&](const RecordedStep& step) {
    if (step.already_so || step.state == StepState::kPlanned) return true;
    const auto now = vfio::observe(step.step, host);
    return now && now->before == step.before;
  });
}

}  // namespace

const Error* find_holder(const Error& error) {
  for (const auto& cause : error.causes) {
    if (const auto* found = find_holder(cause)) return found;
  }
  return error.reason == reasons::kHeldByProcess.code ? &error : nullptr;
}

void Announcement::still_held(const Error& error) {
  constexpr std::chrono::seconds kQuiet{1};
  const auto* holder = find_holder(error);
  if (said_ || !say_ || holder == nullptr || std::chrono::steady_clock::now() - start_ < kQuiet) return;
  said_ = true;
  say_(holder->fact);
}

Result<Lease> Broker::acquire_patiently(Ledger& ledger, const Request& request, const Lease& draft) {
  constexpr std::chrono::milliseconds kFirst{50}, kLongest{1'000};
  const auto end = std::chrono::steady_clock::now() + environment_.wait;
  Announcement announcement(environment_.waits);
  for (auto pause = kFirst;; pause = std::min(2 * pause, kLongest)) {
    auto lease = acquire(ledger, request, draft);
    const bool held = !lease && find_holder(lease.error()) != nullptr && lease.error().host != HostOutcome::kChanged;
    if (!held || std::chrono::steady_clock::now() + pause > end) return lease;
    announcement.still_held(lease.error());
    std::this_thread::sleep_for(pause);
  }
}

Error Broker::after_silence(Ledger& ledger, const Lease& lease, Error error) const {
  const auto* silence = vfio::find_silence(error);
  if (silence == nullptr) return error;
  const std::string what = silence->tried + ": " + silence->subject;
  std::string detail = "lease " + std::to_string(lease.generation) + ": no answer to " + what;
  std::vector<Error> failures;
  const auto device = silent_device(lease, *silence);
  if (const auto& stuck = silence->stuck) {
    detail += "; process " + std::to_string(stuck->pid) + " waits in the kernel";
    auto noted = ledger.add_late_write(lease.generation, {{static_cast<pid_t>(stuck->pid), stuck->start_time}, what});
    if (!noted) failures.push_back(std::move(noted).error());
  }
  auto added = ledger.add_quarantine({device, silence->reason, detail, "", std::string(kOwn), lease.generation});
  if (!added) failures.push_back(std::move(added).error());
  error.causes.insert(error.causes.end(), failures.begin(), failures.end());
  error.hint = device.device + " is quarantined; when it answers again: slicebroker reconcile";
  return error;
}

Result<void> Broker::lift_quarantines(Ledger& ledger, const Lease& lease) const {
  SLICEBROKER_TRY(const auto view, ledger.read());
  std::vector<std::string> devices;
  for (const auto& quarantine : view.quarantines) {
    if (quarantine.generation == lease.generation) devices.push_back(quarantine.device.device);
  }
  if (devices.empty() || !is_restored(lease, environment_.host)) return {};
  for (const auto& device : devices) SLICEBROKER_CHECK(ledger.clear_quarantine(device));
  return {};
}

}  // namespace slicebroker::broker
