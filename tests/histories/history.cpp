// SPDX-License-Identifier: Apache-2.0
#include "tests/histories/history.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "broker/ledger/ledger.h"
#include "tests/race/crowd.h"

namespace slicebroker::histories {
namespace {

namespace fs = std::filesystem;
using broker::LeaseState;
using broker::Ledger;
using scenarios::fail;

constexpr int kKilled = 128 + 9;
constexpr unsigned kMostOperations = 250;  // so that most cuts hit one
constexpr const char* kType = "1150";      // L40S-4Q

std::string state_directory() {
  return std::getenv("SLICEBROKER_STATE");
}

const char* name(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::kAttach: return "attach";
    case Step::Kind::kDetach: return "detach";
    case Step::Kind::kReconcile: return "reconcile";
    case Step::Kind::kStart: return "start VM";
    case Step::Kind::kEnd: return "end VM";
    case Step::Kind::kReboot: return "reboot";
    case Step::Kind::kForeign: return "somebody else takes or leaves";
    case Step::Kind::kQuarantine: return "quarantine or clear";
    case Step::Kind::kCount: break;
  }
  return "";
}

bool is_command(Step::Kind kind) {
  return kind == Step::Kind::kAttach || kind == Step::Kind::kDetach || kind == Step::Kind::kReconcile;
}

const char* name(Step::Cut cut) {
  switch (cut) {
    case Step::Cut::kNot: return "";
    case Step::Cut::kKilledBefore: return "killed before";
    case Step::Cut::kKilledAfter: return "killed after";
    case Step::Cut::kFailed: return "a failure of";
  }
  return "";
}

unsigned draw(std::mt19937& random, unsigned below) {
  return std::uniform_int_distribution<unsigned>(0, below - 1)(random);
}

}  // namespace

std::vector<Step> draw_steps(std::mt19937& random) {
  using enum Step::Kind;
  // As often as they stand here.
  constexpr std::array kKinds = {kAttach, kAttach,    kAttach, kAttach, kAttach, kDetach,  kDetach,
                                 kDetach, kReconcile, kStart,  kEnd,    kReboot, kForeign, kQuarantine};
  std::vector<Step> steps{{kStart, 0, 0, Step::Cut::kNot, 0}, {kStart, 1, 0, Step::Cut::kNot, 0}};
  for (unsigned left = 4 + draw(random, 5); left > 0; --left) {
    Step step{kKinds[draw(random, kKinds.size())], draw(random, kVms.size()), draw(random, kDevices.size()),
              Step::Cut::kNot, 0};
    if (is_command(step.kind) && draw(random, 3) == 0) {
      step.cut = static_cast<Step::Cut>(1 + draw(random, 3));
      step.at = draw(random, kMostOperations);
    }
    steps.push_back(step);
  }
  return steps;
}

std::string to_text(const Step& step) {
  std::string text = std::string(name(step.kind)) + " " + kVms[step.vm] + " " + kDevices[step.device];
  if (step.cut != Step::Cut::kNot)
    text += ", " + std::string(name(step.cut)) + " operation " + std::to_string(step.at + 1);
  return text;
}

History::History(scenarios::Stage& stage, Histogram& reached) : stage_(stage), reached_(reached) {
  for (const auto& entry : fs::directory_iterator(state_directory())) fs::remove_all(entry);
}

void History::play(const std::vector<Step>& steps) {
  for (const auto& step : steps) {
    perform(step);
    check_ledger();
  }
  finish();
}

void History::control(const std::string& line) {
  if (const auto done = stage_.host().command(line); !done) fail(line + ": " + done.error());
}

int History::run(const std::vector<std::string>& words, const Step& step) {
  const auto after = " after=" + std::to_string(step.at);
  if (step.cut == Step::Cut::kKilledBefore) control("kill any *" + after + " when=before who=program");
  if (step.cut == Step::Cut::kKilledAfter) control("kill any *" + after + " when=after who=program");
  if (step.cut == Step::Cut::kFailed) control("fail any * EIO" + after + " times=1");
  control("count");
  auto endings = race::run_at_once({{words}});
  output_ = std::move(endings[0].output);
  control("clear");
  ++reached_[words[1] + (endings[0].status == kKilled ? " killed" : " -> " + std::to_string(endings[0].status)) +
             (step.cut == Step::Cut::kFailed ? ", an operation failing" : "")];
  return endings[0].status;
}

void History::expect(const std::string& what, const std::set<int>& statuses, int status) const {
  if (statuses.contains(status)) return;
  std::string wanted;
  for (const int one : statuses) wanted += " " + std::to_string(one);
  fail(what + " ended with " + std::to_string(status) + " and not with" + wanted + ":\n" + output_);
}

void History::perform(const Step& step) {
  const std::string vm = kVms[step.vm];
  switch (step.kind) {
    case Step::Kind::kAttach: attach(step); break;
    case Step::Kind::kDetach: detach(step); break;
    case Step::Kind::kReconcile: reconcile(step); break;
    case Step::Kind::kStart:
      if (!reference_.runs[step.vm]) control("domain " + vm + " start");
      reference_.runs[step.vm] = true;
      break;
    case Step::Kind::kEnd:
      if (reference_.runs[step.vm]) control("domain " + vm + " end");
      reference_.end_vm(step.vm);
      ++reached_["VM ended"];
      break;
    case Step::Kind::kReboot:
      if (reference_.devices[kGpu].foreign) change_foreign(kGpu);
      control("reboot");
      reference_.reboot();
      stage_.remember();
      ++reached_["reboot"];
      break;
    case Step::Kind::kForeign: change_foreign(step.device); break;
    case Step::Kind::kQuarantine: change_quarantine(step.device); break;
    case Step::Kind::kCount: break;
  }
}

// A command that was cut leaves what it was about to either of two; what is right, the next settle() sees.
void History::attach(const Step& step) {
  settle();
  const bool gpu = step.device == kGpu;
  if (reference_.runs[step.vm]) reference_.end_void_leases();
  const auto statuses = reference_.statuses_of_attach(step.vm, gpu);
  const auto before = holders();
  const int status =
      run({"slicebroker", "attach", kVms[step.vm], gpu ? "gpu=81:00.0" : std::string("type=nvidia-") + kType}, step);
  if (step.cut == Step::Cut::kNot) expect("attach", statuses, status);
  const auto now = holders();
  for (const unsigned d : reference_.wanted(gpu)) {
    auto& device = reference_.devices[d];
    const bool may_get = device.holder == kNobody && !device.foreign && !device.quarantined && statuses.contains(0);
    if (!may_get) continue;
    if (status != 0) device.maybe = static_cast<int>(step.vm);
    if (status == 0 && now[d] == static_cast<int>(step.vm)) {
      device.holder = now[d];
      return;
    }
  }
  if (status == 0) fail("attach said that it is done and there is no lease:\n" + output_);
}

void History::detach(const Step& step) {
  settle();
  const auto statuses = reference_.statuses_of_detach(step.vm);
  const int status = run({"slicebroker", "detach", kVms[step.vm], "--timeout", "5"}, step);
  if (step.cut == Step::Cut::kNot) expect("detach", statuses, status);
  for (auto& device : reference_.devices) {
    if (device.holder != static_cast<int>(step.vm)) continue;
    if (status == 0) {
      device.holder = kNobody;
      device.lost = device.void_lease = false;
    } else {
      device.maybe = device.holder;
    }
  }
}

void History::reconcile(const Step& step) {
  settle();
  const int status = run({"slicebroker", "reconcile"}, step);
  if (step.cut == Step::Cut::kNot) expect("reconcile", {0}, status);
  if (status == 0) return reference_.reconcile();
  for (auto& device : reference_.devices) {
    if (device.lost || device.void_lease) device.maybe = device.holder;
  }
}

// After a cut: `reconcile` decides, between what the command began and what it was to become.
void History::settle() {
  if (reference_.is_settled()) return;
  expect("reconcile", {0}, run({"slicebroker", "reconcile"}, Step{}));
  reference_.reconcile();
  const auto now = holders();
  for (unsigned d = 0; d < kDevices.size(); ++d) {
    auto& device = reference_.devices[d];
    if (device.maybe == kNobody) continue;
    if (now[d] != kNobody && now[d] != device.maybe) fail(std::string(kDevices[d]) + " is a third one's after a cut");
    device.holder = now[d];
    device.maybe = kNobody;
    ++reached_[now[d] == kNobody ? "cut, undone" : "cut, carried on"];
  }
}

void History::change_foreign(unsigned d) {
  auto& device = reference_.devices[d];
  settle();
  if (device.holder != kNobody) return;
  device.foreign = !device.foreign;
  ++reached_[device.foreign ? "somebody else takes one" : "somebody else leaves one"];
  const std::string address = kDevices[d];
  if (d == kGpu) {
    control(device.foreign ? "file etc/driverctl.d/pci-" + address + " vfio-pci"
                           : "no-file etc/driverctl.d/pci-" + address);
  } else {
    control(device.foreign ? "vgpu " + address + " " + kType : "remove-vgpu " + address);
  }
}

void History::change_quarantine(unsigned d) {
  auto& device = reference_.devices[d];
  device.quarantined = !device.quarantined;
  const int status = run({"slicebroker", "quarantine", device.quarantined ? "add" : "clear", kDevices[d]}, Step{});
  expect("quarantine", {0}, status);
}

// Which VM the ledger says has each device.
std::vector<int> History::holders() const {
  std::vector<int> found(kDevices.size(), kNobody);
  const auto ledger = Ledger::open_for_reading(state_directory());
  if (!ledger) fail("the ledger can't be read");
  const auto view = ledger->read().value();
  for (const auto& lease : view.leases) {
    for (const auto& leased : lease.devices) {
      for (unsigned d = 0; d < kDevices.size(); ++d) {
        if (leased.device != std::string("pci:") + kDevices[d]) continue;
        if (found[d] != kNobody) fail(leased.device + " is in two leases");
        found[d] = lease.vm.target == kVms[0] ? 0 : 1;
      }
    }
  }
  return found;
}

void History::check_ledger() {
  const auto ledger = Ledger::open_for_reading(state_directory());
  if (ledger && ledger->exists() && ledger->verify_audit("").value().faulty) fail("the audit trail does not fit");
  const auto now = holders();
  for (unsigned d = 0; d < kDevices.size(); ++d) {
    const auto& device = reference_.devices[d];
    if (now[d] != device.holder && (device.maybe == kNobody || now[d] != device.maybe) &&
        !(device.maybe != kNobody && now[d] == kNobody)) {
      fail(std::string(kDevices[d]) + " is leased to " + std::to_string(now[d]) + " and should be to " +
           std::to_string(device.holder));
    }
  }
}

void History::finish() {
  settle();
  expect("the last reconcile", {0}, run({"slicebroker", "reconcile"}, Step{}));
  reference_.reconcile();
  check_ledger();
  const auto settled = stage_.host().snapshot();
  expect("reconcile once more", {0}, run({"slicebroker", "reconcile"}, Step{}));
  if (stage_.host().snapshot() != settled) fail("the second reconcile changed the host");
  for (unsigned vm = 0; vm < kVms.size(); ++vm) {
    expect("the last detach", reference_.statuses_of_detach(vm), run({"slicebroker", "detach", kVms[vm]}, Step{}));
    if (reference_.runs[vm]) control(std::string("domain ") + kVms[vm] + " end");
  }
  for (unsigned d = 0; d < kDevices.size(); ++d) {
    reference_.devices[d].holder = kNobody;
    if (reference_.devices[d].foreign) change_foreign(d);
  }
  stage_.check_same();
}

}  // namespace slicebroker::histories
