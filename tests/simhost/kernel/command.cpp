// SPDX-License-Identifier: Apache-2.0
// What changes a host from outside: its administrator, its boot services, its hardware. The lines of a host file behind
// its hardware, and those of the control file. tests/simhost/hosts/README.md is the manual.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"
#include "tests/simhost/kernel/words.h"

namespace slicebroker::simhost::model {
namespace {

// A command waits for nobody: what would hang is refused.
class Impatient : public Caller {
 public:
  pid_t pid() const override { return 1; }
  bool wait(const std::function<bool()>& done) override { return done(); }
};

// Whether the driver would have to wait for somebody before it can let go of a function or its VFs.
bool is_in_use(const Machine& machine, const Function& function) {
  const auto uses_mdev = [&](const auto& entry) {
    return entry.second->parent == &function && is_open(machine, entry.second->vfio);
  };
  return is_open(machine, function.vfio) || (function.gpu && function.gpu->users > 0) ||
         std::any_of(machine.mdevs.begin(), machine.mdevs.end(), uses_mdev) ||
         std::any_of(function.vfs.begin(), function.vfs.end(),
                     [&](const Function* vf) { return is_in_use(machine, *vf); });
}

Outcome failed(const std::string& what, int error) {
  if (error == 0) return {};
  return tl::unexpected(what + ": " + (error == EINTR ? "somebody uses it" : std::strerror(error)));
}

Outcome bad(const std::string& what) {
  return tl::unexpected(what);
}

struct Call {
  Machine& machine;
  Words words;  // without the command
  Impatient caller = {};
};

tl::expected<Function*, std::string> function_of(Call& call) {
  const auto bdf = call.words.next();
  auto* function = call.machine.find_function(bdf);
  if (function == nullptr) return tl::unexpected("there is no PCI function '" + bdf + "'");
  return function;
}

tl::expected<Gpu*, std::string> gpu_of(Call& call) {
  auto function = function_of(call);
  if (!function) return tl::unexpected(function.error());
  if (!(*function)->gpu) return tl::unexpected((*function)->bdf + " is no NVIDIA GPU");
  return (*function)->gpu.get();
}

tl::expected<Gpu*, std::string> bound_gpu_of(Call& call) {
  auto gpu = gpu_of(call);
  if (gpu && !(*gpu)->bound) return tl::unexpected((*gpu)->function->bdf + " is not on the nvidia driver");
  return gpu;
}

tl::expected<bool, std::string> switch_of(Call& call) {
  const auto word = call.words.next();
  if (word != "on" && word != "off") return tl::unexpected("'on' or 'off' is expected and not '" + word + "'");
  return word == "on";
}

tl::expected<unsigned, std::string> number_of(const std::string& word) {
  const auto number = read_number(word, 10);
  if (!number) return tl::unexpected("a number is expected and not '" + word + "'");
  return static_cast<unsigned>(*number);
}

// --- GPUs ------------------------------------------------------------------------------------------------------

Outcome run_gpu(Call& call) {
  const auto gpu = gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto state = call.words.next();
  if (state != "lost" && state != "returns") return bad("'lost' or 'returns' is expected and not '" + state + "'");
  (*gpu)->lost = state == "lost";
  return {};
}

Outcome run_mig(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto on = switch_of(call);
  if (!on) return bad(on.error());
  return failed("MIG mode", set_mig_mode(**gpu, *on));
}

Outcome run_heterogeneous(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto on = switch_of(call);
  if (!on) return bad(on.error());
  return failed("heterogeneous mode", set_heterogeneous(**gpu, *on));
}

// The slices of "ci=2,1", or one instance over all of it.
Outcome add_compute_instances(Gpu& gpu, const GpuInstance& gi, const std::string& wanted) {
  if (wanted == "none") return {};
  if (wanted.empty()) return failed("compute instance", create_ci(gpu, gi.id, gi.profile->compute_slices, -1));
  std::istringstream list(wanted);
  for (std::string word; std::getline(list, word, ',');) {
    const auto slices = number_of(word);
    if (!slices) return bad(slices.error());
    const auto made = failed("compute instance", create_ci(gpu, gi.id, *slices, -1));
    if (!made) return made;
  }
  return {};
}

Outcome run_gi(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto profile_name = call.words.next();
  const auto start = call.words.option("start");
  const auto compute = call.words.option("ci");
  const auto& profiles = (*gpu)->board().profiles;
  const auto profile = std::find_if(profiles.begin(), profiles.end(),
                                    [&](const GiProfile& known) { return known.name == profile_name; });
  if (profile == profiles.end()) return bad((*gpu)->board().key + " has no profile '" + profile_name + "'");
  const auto at = start ? number_of(*start) : 0U;
  if (!at) return bad(at.error());
  std::set<unsigned> before;
  for (const auto& gi : (*gpu)->instances) {
    if (gi) before.insert(gi->id);
  }
  const int error = create_gi(**gpu, profile->id, start ? static_cast<int>(*at) : -1);
  if (error != 0) return failed("GPU instance " + profile_name, error);
  for (const auto& gi : (*gpu)->instances) {
    if (gi && !before.contains(gi->id)) return add_compute_instances(**gpu, *gi, compute.value_or(""));
  }
  return {};
}

Outcome run_destroy_gi(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto id = number_of(call.words.next());
  if (!id) return bad(id.error());
  auto* gi = find_gi(**gpu, *id);
  if (gi != nullptr && gi->users.empty()) gi->compute.clear();
  return failed("GPU instance", destroy_gi(**gpu, *id));
}

Outcome run_ci(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto gi = number_of(call.words.next());
  const auto slices = number_of(call.words.next());
  if (!gi || !slices) return bad("'ci GPU INSTANCE SLICES' is expected");
  return failed("compute instance", create_ci(**gpu, *gi, *slices, -1));
}

Outcome run_destroy_ci(Call& call) {
  const auto gpu = bound_gpu_of(call);
  if (!gpu) return bad(gpu.error());
  const auto gi = number_of(call.words.next());
  const auto ci = number_of(call.words.next());
  if (!gi || !ci) return bad("'destroy-ci GPU INSTANCE COMPUTE-INSTANCE' is expected");
  return failed("compute instance", destroy_ci(**gpu, *gi, *ci));
}

// --- VFs and vGPUs ------------------------------------------------------------------------------------------------

// As the vendor's tool does it: a driver that refuses a plain write of sriov_numvfs doesn't refuse this.
Outcome run_numvfs(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto count = call.words.next();
  const auto& vfs = (*function)->vfs;
  const auto used = [&](const Function* vf) { return is_in_use(call.machine, *vf); };
  if (std::any_of(vfs.begin(), vfs.end(), used)) return failed("sriov_numvfs", EINTR);
  auto* gpu = (*function)->gpu.get();
  const bool locked = gpu != nullptr && gpu->unbind_locked;
  if (gpu != nullptr) gpu->unbind_locked = true;
  const int error = store_numvfs(call.machine, **function, count, call.caller);
  if (gpu != nullptr) gpu->unbind_locked = locked;
  return failed("sriov_numvfs", error);
}

Outcome run_autoprobe(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto on = switch_of(call);
  if (!on) return bad(on.error());
  (*function)->vf_autoprobe = *on;
  return {};
}

Outcome run_vgpu(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto type = call.words.next();
  const auto uuid = call.words.option("uuid");
  auto& machine = call.machine;
  const auto parent = machine.mdev_parents.find((*function)->bdf);
  if (parent != machine.mdev_parents.end()) {
    if (!uuid) return bad("a mediated device needs uuid=");
    return failed("vGPU", create_mdev(machine, **function, parent->second.type_prefix + "-" + type, *uuid));
  }
  if (!(*function)->vgpu) return bad((*function)->bdf + " can carry no vGPU");
  const auto id = number_of(type);
  if (!id) return bad(id.error());
  auto& gpu = *(*function)->physical->gpu;
  const auto* known = find_vgpu_type(gpu.board(), *id);
  if (known == nullptr) return bad(gpu.board().key + " has no vGPU type " + type);
  return failed("vGPU", create_vgpu(machine, gpu, *(*function)->vgpu, *known));
}

// Of a VF, or of an mdev by its UUID.
Outcome run_remove_vgpu(Call& call) {
  const auto name = call.words.next();
  auto& machine = call.machine;
  const auto mdev = machine.mdevs.find(name);
  if (mdev != machine.mdevs.end()) return failed("vGPU", remove_mdev(machine, *mdev->second, call.caller));
  auto* function = machine.find_function(name);
  if (function == nullptr || !function->vgpu) return bad("there is no vGPU '" + name + "'");
  if (is_open(machine, function->vfio)) return failed("vGPU", EBUSY);
  destroy_vgpu(*function->vgpu);
  return {};
}

// --- drivers and hardware -------------------------------------------------------------------------------------------

Outcome run_override(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto name = call.words.next();
  (*function)->driver_override = name == "none" ? std::nullopt : std::optional(name);
  return {};
}

// As driverctl does: override, unbind, probe.
Outcome run_bind(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  const auto name = call.words.next();
  auto& machine = call.machine;
  if (name != "none" && !machine.drivers.contains(name)) return bad("there is no driver '" + name + "'");
  if (is_in_use(machine, **function)) return failed("unbind", EINTR);
  if (const int error = unbind_driver(machine, **function, call.caller); error != 0) return failed("unbind", error);
  if (name == "none") return {};
  auto& driver = machine.drivers.at(name);
  if (!matches(driver, **function)) (*function)->driver_override = name;
  return failed("bind", bind_driver(machine, driver, (*function)->bdf, call.caller));
}

Outcome load_driver(Call& call, const std::string& name) {
  auto& machine = call.machine;
  for (auto& driver : known_drivers(machine)) {
    if (driver.name != name) continue;
    if (machine.drivers.contains(name)) return bad(name + " is loaded");
    add_driver(machine, driver);
    const auto functions = machine.functions;
    for (const auto& [_, function] : functions) {
      if (function->present && function->driver.empty()) probe_all(machine, *function, call.caller);
    }
    return {};
  }
  return bad("there is no driver '" + name + "'");
}

Outcome run_driver(Call& call) {
  const auto name = call.words.next();
  const auto what = call.words.next();
  if (what == "load") return load_driver(call, name);
  if (what != "unload") return bad("'load' or 'unload' is expected and not '" + what + "'");
  if (!call.machine.drivers.contains(name)) return bad("there is no driver '" + name + "'");
  for (const auto& [_, function] : call.machine.functions) {
    if (function->driver == name && is_in_use(call.machine, *function)) return failed("unload", EINTR);
  }
  return failed("unload", remove_driver(call.machine, name, call.caller));
}

Outcome run_unplug(Call& call) {
  const auto function = function_of(call);
  if (!function) return bad(function.error());
  if ((*function)->physical != nullptr) return bad((*function)->bdf + " is a virtual function: its PF has it");
  if (is_in_use(call.machine, **function)) return failed("unplug", EINTR);
  for (const auto& [bdf, other] : call.machine.functions) {
    if (other->directory.starts_with((*function)->directory + "/")) return bad(bdf + " is behind it");
  }
  return failed("unplug", remove_function(call.machine, **function, call.caller));
}

Outcome run_plug(Call& call) {
  const auto bdf = call.words.next();
  auto& machine = call.machine;
  if (machine.find_function(bdf) != nullptr) return bad(bdf + " is there");
  for (auto& function : machine.all_functions) {
    if (function.bdf != bdf || function.physical != nullptr) continue;
    add_function(machine, function);
    return failed("probe", probe_all(machine, function, call.caller));
  }
  return bad("there was never a PCI function '" + bdf + "'");
}

struct Command {
  const char* name;
  Outcome (*run)(Call&);
};

constexpr Command kCommands[] = {{"gpu", run_gpu},
                                 {"mig", run_mig},
                                 {"gi", run_gi},
                                 {"destroy-gi", run_destroy_gi},
                                 {"ci", run_ci},
                                 {"destroy-ci", run_destroy_ci},
                                 {"heterogeneous", run_heterogeneous},
                                 {"numvfs", run_numvfs},
                                 {"autoprobe", run_autoprobe},
                                 {"vgpu", run_vgpu},
                                 {"remove-vgpu", run_remove_vgpu},
                                 {"override", run_override},
                                 {"bind", run_bind},
                                 {"driver", run_driver},
                                 {"unplug", run_unplug},
                                 {"plug", run_plug}};

}  // namespace

Outcome run_command(Machine& machine, const std::string& line) {
  Words words(line);
  const auto name = words.next();
  for (const auto& command : kCommands) {
    if (name != command.name) continue;
    Call call{machine, words};
    auto outcome = command.run(call);
    if (outcome && !call.words.empty()) return bad("'" + call.words.next() + "' means nothing here");
    return outcome;
  }
  return bad("there is no command '" + name + "'");
}

}  // namespace slicebroker::simhost::model
