// SPDX-License-Identifier: Apache-2.0
#include <sstream>

#include "tests/simhost/kernel/kernel.h"
#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/nvidia/gpu.h"

namespace slicebroker::simhost {
namespace {

using model::Machine;

// Its machine never moves: every file of the tree points at it.
class SimulatedKernel : public Kernel {
 public:
  SimulatedKernel(Tree& tree, Processes& processes) : machine_(tree, processes) {}

  tl::expected<void, std::string> command(std::string_view line) override {
    return model::run_command(machine_, std::string(line));
  }

  // Puts a count of boots, for another boot_id, and the GPUs that keep MIG mode in front, in place of earlier ones.
  std::string after_reboot(std::string_view description) const override {
    std::string text = "boots " + std::to_string(machine_.boots + 1) + "\n";
    for (const auto& [bdf, function] : machine_.functions) {
      const bool persists = function->gpu && function->board->mig_mode_is_persistent;
      if (persists && function->gpu->mig_mode) text += "remembers-mig " + bdf + "\n";
    }
    std::istringstream lines{std::string(description)};
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("boots ") && !line.starts_with("remembers-mig ")) text += line + "\n";
    }
    return text;
  }

  Machine& machine() { return machine_; }

 private:
  Machine machine_;
};

}  // namespace

tl::expected<std::unique_ptr<Kernel>, std::string> boot(std::string_view description, Tree& tree,
                                                        Processes& processes) {
  auto kernel = std::make_unique<SimulatedKernel>(tree, processes);
  if (const auto outcome = model::read_host(kernel->machine(), description); !outcome) {
    return tl::unexpected(outcome.error());
  }
  return kernel;
}

}  // namespace slicebroker::simhost
