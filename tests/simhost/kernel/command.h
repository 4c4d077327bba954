// SPDX-License-Identifier: Apache-2.0
// What the commands share: command.cpp has the list and those about drivers and hardware, command_gpu.cpp the others.
#pragma once

#include <string>

#include "tests/simhost/kernel/machine.h"
#include "tests/simhost/kernel/words.h"

namespace slicebroker::simhost::model {

// A command waits for nobody: what would hang is refused.
class Impatient : public Caller {
 public:
  pid_t pid() const override { return 1; }
  bool wait(const std::function<bool()>& done) override { return done(); }
};

struct Call {
  Machine& machine;
  Words words;  // without the command
  Impatient caller = {};
};

Outcome bad(const std::string& what);
// Success where `error` is 0.
Outcome failed(const std::string& what, int error);
// Whether the driver would have to wait for somebody before it can let go of a function or its VFs.
bool is_in_use(const Machine& machine, const Function& function);

// The next word, as what it names.
tl::expected<Function*, std::string> function_of(Call& call);
tl::expected<Gpu*, std::string> gpu_of(Call& call);
tl::expected<bool, std::string> switch_of(Call& call);

Outcome run_gpu(Call& call);
Outcome run_mig(Call& call);
Outcome run_gi(Call& call);
Outcome run_destroy_gi(Call& call);
Outcome run_ci(Call& call);
Outcome run_destroy_ci(Call& call);
Outcome run_heterogeneous(Call& call);
Outcome run_vgpu(Call& call);
Outcome run_remove_vgpu(Call& call);

}  // namespace slicebroker::simhost::model
