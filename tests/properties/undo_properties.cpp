// SPDX-License-Identifier: Apache-2.0
// Undoing a plan brings the host back, whatever the host, whatever the plan, and whichever write fails on the way.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "broker/transaction/transaction.h"
#include "tests/properties/world.h"
#include "tests/simhost/simhost.h"
#include "tests/unit/check.h"
#include "vfio/base/text.h"

namespace slicebroker::properties {
namespace {

namespace fs = std::filesystem;
using broker::Lease;
using broker::Ledger;
using broker::Plan;
using simhost::SimHost;
using vfio::Inventory;

// What rapidcheck prints; everything is made from it.
struct UndoDraft {
  unsigned host = 0;
  std::vector<unsigned> changes;  // of what the host's administrator could do
  unsigned request = 0;
  unsigned fault = 0;  // the write that fails
  unsigned error = 0;
};

void showValue(const UndoDraft& draft, std::ostream& out);

std::vector<fs::path> host_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(SIMHOST_HOSTS)) {
    if (entry.path().extension() == ".host") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

fs::path host_file(const UndoDraft& draft) {
  const auto files = host_files();
  return files[draft.host % files.size()];
}

void showValue(const UndoDraft& draft, std::ostream& out) {
  out << host_file(draft).stem().string() << ", changes";
  for (const auto change : draft.changes) out << " " << change;
  out << ", request " << draft.request << ", fault " << draft.fault << " error " << draft.error;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Mixed-size mode ends with the unbind of a GPU and is not brought back, which its candidate's note says.
bool is_told(const std::string& line) {
  return line.find("/vgpu_heterogeneous: ") != std::string::npos;
}

// "vfio3", and its device number 511:3, is the lowest that was free at the bind: of a function that comes back to
// vfio-pci it may be another.
std::string without_vfio_numbers(const std::string& snapshot) {
  std::vector<std::string> lines;
  std::istringstream text(snapshot);
  for (std::string line; std::getline(text, line);) {
    std::string kept;
    for (const char c : line) {
      if (c < '0' || c > '9' || !kept.ends_with("vfio")) kept += c;
    }
    if (kept.find("/vfio-dev/vfio/dev: ") != std::string::npos) kept.resize(kept.rfind(':'));
    lines.push_back(std::move(kept));
  }
  std::sort(lines.begin(), lines.end());
  return join(lines, "\n");
}

// The first line that differs, as a whole snapshot is long.
std::string difference(const std::string& before, const std::string& after) {
  std::istringstream a(without_vfio_numbers(before)), b(without_vfio_numbers(after));
  std::string x, y;
  while (true) {
    const bool more_a = static_cast<bool>(std::getline(a, x));
    const bool more_b = static_cast<bool>(std::getline(b, y));
    if (!more_a && !more_b) return "";
    if (!more_a || !more_b || (x != y && !(is_told(x) && is_told(y))))
      return "before: " + (more_a ? x : "-") + "\nafter:  " + (more_b ? y : "-");
  }
}

void add_gpu_changes(const vfio::nvidia::Gpu& gpu, std::vector<std::string>& lines) {
  const auto address = gpu.address.to_string();
  lines.push_back("mig " + address + (gpu.mig_mode == vfio::nvidia::MigMode::kOn ? " off" : " on"));
  lines.push_back("heterogeneous " + address + " on");
  for (const auto& profile : gpu.profiles) lines.push_back("gi " + address + " " + profile.name);
  for (const auto& instance : gpu.instances) {
    lines.push_back("destroy-gi " + address + " " + std::to_string(instance.id));
  }
}

// Commands of the host's control file (tests/simhost/hosts/README.md); some are refused, which is as good as none.
std::vector<std::string> changes_of(const Inventory& host, unsigned number) {
  std::vector<std::string> lines;
  for (const auto& holder : host.holders) lines.push_back("end " + std::to_string(holder.pid));
  for (const auto& gpu : host.nvidia ? host.nvidia->gpus : std::vector<vfio::nvidia::Gpu>{}) {
    add_gpu_changes(gpu, lines);
  }
  for (const auto& function : host.functions) {
    const auto address = function.address.to_string();
    if (function.vf_total > 0) {
      for (const auto* count : {" 0", " 2", " 4"}) lines.push_back("numvfs " + address + count);
    }
    if (!is_gpu(function) && function.address.function > 5) continue;  // VFs are many and alike
    for (const auto* driver : {" vfio-pci", " none"}) lines.push_back("bind " + address + driver);
    lines.push_back("override " + address + " vfio-pci");
  }
  for (const auto& vf : host.vendor_vfs) {
    if (vf.creatable.empty() || vf.address.function > 5) continue;
    lines.push_back("vgpu " + vf.address.to_string() + " " + std::to_string(vf.creatable.back().id));
  }
  for (const auto& mdev : host.mdevs) lines.push_back("remove-vgpu " + mdev.uuid.to_string());
  for (const auto& type : host.mdev_types) {
    if (type.available == 0 || type.parent.function > 5) continue;
    lines.push_back("vgpu " + type.parent.to_string() + " " + type.id.substr(type.id.find('-') + 1) +
                    " uuid=77777777-7777-4777-8777-77777777777" + std::to_string(number));
  }
  return lines;
}

std::vector<std::string> all_selectors(const Inventory& host) {
  std::vector<std::string> texts;
  for (unsigned kind = 0; kind < 7; ++kind) {
    const auto some = selectors(host, kind);
    texts.insert(texts.end(), some.begin(), some.end() - 1);
  }
  return texts;
}

// A simulated host with what was changed of it, and a ledger.
class Stage {
 public:
  explicit Stage(const UndoDraft& draft) {
    auto started = SimHost::start(read_file(host_file(draft)));
    RC_ASSERT(started.has_value());
    simulated_ = *std::move(started);
    host_.emplace(vfio::Host{vfio::HostRoot::open(simulated_->root()).value()});
    host_->nvml_library = simulated_->nvml().empty() ? "no-libnvidia-ml.so.1" : simulated_->nvml();
    ::setenv("SIMHOST", simulated_->root().c_str(), 1);  // which host its NVML is of, as it stays loaded
    std::string state = (fs::temp_directory_path() / "slicebroker-property.XXXXXX").string();
    RC_ASSERT(::mkdtemp(state.data()) != nullptr);
    state_ = state;
    ledger_.emplace(Ledger::open(state_).value());
    for (const auto change : draft.changes) change_host(change);
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  ~Stage() {
    ledger_.reset();
    std::error_code ignored;
    fs::remove_all(state_, ignored);
  }

  SimHost& simulated() { return *simulated_; }
  const vfio::Host& host() const { return *host_; }
  Ledger& ledger() { return *ledger_; }
  // With what NVML tells, where the host has it: else a case would look at less than it seems to.
  Inventory inventory() const {
    auto host = read_inventory(*host_).value();
    RC_LOG(host.nvml_error ? to_text(*host.nvml_error) : "");
    RC_ASSERT((host.nvidia || simulated_->nvml().empty() || host.nvml_error->reason == "NVML_DRIVER_NOT_LOADED"));
    return host;
  }

  // The lease of a request that is granted and changes something: of the one drawn or the next that is; for odd
  // numbers, of the one that changes most.
  std::optional<Lease> begin_lease(unsigned request) {
    const auto host = inventory();
    std::optional<Plan> chosen;
    std::string chosen_text;
    const auto texts = all_selectors(host);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto& text = texts[(request + i) % texts.size()];
      auto plan = plan_for(host, text);
      if (!plan || plan->steps.size() <= (chosen ? chosen->steps.size() : 0)) continue;
      chosen = std::move(plan);
      chosen_text = text;
      if (request % 2 == 0) break;
    }
    if (!chosen) return std::nullopt;
    RC_LOG(chosen_text);
    return lease_of(*std::move(chosen), chosen_text);
  }

 private:
  void change_host(unsigned change) {
    const auto lines = changes_of(inventory(), change % 10);
    const auto& line = lines[change % lines.size()];
    const auto done = simulated_->command(line);
    RC_LOG(line + (done ? "" : ": " + done.error()));
  }

  static std::optional<Plan> plan_for(const Inventory& host, const std::string& text) {
    broker::Request request;
    request.selector = broker::parse_selector(text).value();
    for (const auto& function : host.functions) request.allowed_group_members.insert(function.address);
    request.allow_nvswitch = true;
    request.mdev_uuid = *Uuid::parse("88888888-8888-4888-8888-888888888888");
    const auto resolution = resolve(host, {}, request, broker::Policy{});
    const auto* granted = resolution ? resolution->granted() : nullptr;
    return granted != nullptr ? std::optional(granted->plan) : std::nullopt;
  }

  Lease lease_of(Plan plan, const std::string& selector) {
    Lease lease;
    lease.vm = {hypervisors::HypervisorKind::kLibvirt, "web1"};
    lease.selector = selector;
    lease.boot_id = vfio::read_boot_id(host_->root).value();
    lease.broker = {::getpid(), 1};
    lease.attachment = std::move(plan.attachment);
    lease.devices = std::move(plan.devices);
    auto observed = broker::observe_steps(plan.steps, *host_);
    RC_LOG(observed ? "" : to_text(observed.error()));
    RC_ASSERT(observed.has_value());
    lease.steps = *std::move(observed);
    return ledger_->begin(std::move(lease), ledger_->read().value().revision).value();
  }

  std::unique_ptr<SimHost> simulated_;
  std::optional<vfio::Host> host_;
  std::string state_;
  std::optional<Ledger> ledger_;
};

std::string outcome(const Result<void>& result) {
  return result ? "succeeded" : "failed:" + to_text(result.error());
}

rc::Gen<UndoDraft> draft() {
  const auto any = [] { return rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0U, 1000U)); };
  return rc::gen::build<UndoDraft>(
      rc::gen::set(&UndoDraft::host, any()),
      rc::gen::set(&UndoDraft::changes, rc::gen::resize(3, rc::gen::container<std::vector<unsigned>>(any()))),
      rc::gen::set(&UndoDraft::request, any()), rc::gen::set(&UndoDraft::fault, rc::gen::inRange(0U, 12U)),
      rc::gen::set(&UndoDraft::error, rc::gen::inRange(0U, 4U)));
}

RC_GTEST_PROP(Undo, BringsTheHostBack, ()) {
  const auto drawn = *draft();
  Stage stage(drawn);
  const auto before = stage.simulated().snapshot();
  auto lease = stage.begin_lease(drawn.request);
  if (!lease) {
    RC_TAG("nothing to do");
    return;
  }
  for (const auto& step : lease->steps) RC_TAG(std::string(kind(step.step)));
  const auto ran = run_steps(*lease, stage.ledger(), stage.host(), {});
  RC_LOG("running " + outcome(ran));
  RC_ASSERT((ran || ran.error().host == HostOutcome::kRestored));
  if (ran) {
    const auto undone = undo_steps(*lease, stage.ledger(), stage.host(), {});
    RC_LOG("undoing " + outcome(undone));
    RC_ASSERT(undone.has_value());
  }
  RC_ASSERT(difference(before, stage.simulated().snapshot()) == "");
  RC_ASSERT(stage.simulated().unmodelled() == std::vector<std::string>{});
}

// What is not brought back is named; once the fault is gone, undoing again does the rest.
RC_GTEST_PROP(Undo, BringsTheHostBackWhenAWriteFails, ()) {
  const auto drawn = *draft();
  Stage stage(drawn);
  const auto before = stage.simulated().snapshot();
  auto lease = stage.begin_lease(drawn.request);
  if (!lease) {
    RC_TAG("nothing to do");
    return;
  }
  static constexpr std::array kErrors{"EIO", "EBUSY", "ENOSPC", "EINVAL"};
  const auto fault = std::string("fail write sys/* ") + kErrors[drawn.error] + " after=" + std::to_string(drawn.fault);
  const bool once = *rc::gen::arbitrary<bool>();
  RC_LOG(fault + (once ? " times=1" : ""));
  RC_ASSERT(stage.simulated().command(fault + (once ? " times=1" : "")).has_value());
  auto ran = run_steps(*lease, stage.ledger(), stage.host(), {});
  if (ran) ran = undo_steps(*lease, stage.ledger(), stage.host(), {});
  RC_LOG(outcome(ran));
  const bool changed = !ran && ran.error().host != HostOutcome::kRestored;
  RC_TAG(ran ? "not hit" : changed ? "changed" : "restored");
  if (changed) {
    RC_ASSERT(ran.error().host == HostOutcome::kChanged);
    RC_ASSERT(!ran.error().causes.empty() && !ran.error().hint.empty());
    RC_ASSERT(stage.simulated().command("clear").has_value());
    const auto undone = undo_steps(*lease, stage.ledger(), stage.host(), {});
    RC_LOG("again: " + outcome(undone));
    RC_ASSERT(undone.has_value());
  }
  RC_ASSERT(difference(before, stage.simulated().snapshot()) == "");
  RC_ASSERT(stage.simulated().unmodelled() == std::vector<std::string>{});
}

}  // namespace
}  // namespace slicebroker::properties
