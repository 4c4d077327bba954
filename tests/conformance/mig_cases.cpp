// SPDX-License-Identifier: Apache-2.0
// GPU instances and compute instances, through the files that both the lab's driver and the simulated one have for it.
// That an errno is NVIDIA's own can't be said: the two have to agree.
#include <cerrno>
#include <sstream>

#include "tests/conformance/gpu.h"

namespace slicebroker::conformance {
namespace {

std::string alone(const Run& run, const std::string& name) {
  return device_path(run.roles.mig_gpu) + "/lab/" + name;
}

// The column of a profile's line in lab/profiles: 6 is how many more would fit.
std::string profile_column(const Run& run, const std::string& id, int column) {
  std::istringstream lines(run.host.read(alone(run, "profiles")).text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(id + " ")) continue;
    std::istringstream words(line);
    std::string word;
    for (int index = 0; index <= column; ++index) words >> word;
    return word;
  }
  return "";
}

void create(Run& run, const std::string& request, const std::string& id) {
  run.later([&run, id] { run.write(alone(run, "destroy_gi"), id + "\n"); });
  run.write(alone(run, "create_gi"), request + "\n");
}

void no_such_profile(Run& run) {
  for (const char* text : {"99\n", "nonsense\n", "\n", "14 1\n", "14 8\n", "0 4\n"}) {
    run.write(alone(run, "create_gi"), text, EINVAL);
  }
  run.text(alone(run, "gpu_instances"), "");
}

void placements(Run& run) {
  create(run, "14 0", "3");
  run.text(alone(run, "gpu_instances"), "3 14 0 2 -");
  run.write(alone(run, "create_gi"), "14 0\n", ENOSPC);
  run.write(alone(run, "create_gi"), "9 0\n", ENOSPC);
  create(run, "9 4", "2");
  create(run, "19 2", "9");
  run.text(alone(run, "gpu_instances"), "3 14 0 2 -\n2 9 4 4 -\n9 19 2 1 -");
}

void highest_place_by_default(Run& run) {
  create(run, "14", "5");
  run.text(alone(run, "gpu_instances"), "5 14 4 2 -");
  create(run, "14", "4");
}

void capacity(Run& run) {
  run.equal("2g that fit", "3", profile_column(run, "14", 6));
  create(run, "14 0", "3");
  run.equal("2g that fit after one", "2", profile_column(run, "14", 6));
  run.equal("7g that fit after a 2g", "0", profile_column(run, "0", 6));
  create(run, "14 2", "4");
  create(run, "14 4", "5");
  run.write(alone(run, "create_gi"), "14\n", ENOSPC);
  run.equal("1g that fit beside three 2g", "1", profile_column(run, "19", 6));
}

void at_most_one_with_media_engines(Run& run) {
  create(run, "20 0", "7");
  run.equal("1g+me that fit after one", "0", profile_column(run, "20", 6));
  run.write(alone(run, "create_gi"), "20\n", ENOSPC);
}

void whole(Run& run) {
  create(run, "0", "0");
  run.text(alone(run, "gpu_instances"), "0 0 0 8 -");
  run.write(alone(run, "create_gi"), "19\n", ENOSPC);
}

void compute_instances(Run& run) {
  create(run, "9 4", "2");
  run.write(alone(run, "create_ci"), "5 1\n", ENOENT);
  for (const char* text : {"2 0\n", "2 4\n", "2\n", "nonsense\n"}) run.write(alone(run, "create_ci"), text, EINVAL);
  run.write(alone(run, "create_ci"), "2 2\n");
  run.later([&run] { run.write(alone(run, "destroy_ci"), "2 0\n"); });
  run.write(alone(run, "create_ci"), "2 2\n", ENOSPC);
  run.write(alone(run, "create_ci"), "2 1\n");
  run.equal("compute instances", "2 0 2 0 MIG-", run.host.line(alone(run, "compute_instances")).substr(0, 12));
  run.write(alone(run, "destroy_gi"), "2\n", EBUSY);
  run.write(alone(run, "destroy_ci"), "2 1\n");
  run.write(alone(run, "destroy_ci"), "2 1\n", ENOENT);
  run.write(alone(run, "destroy_ci"), "5 0\n", ENOENT);
  run.write(alone(run, "destroy_ci"), "2\n", EINVAL);
}

void destroy_of_nothing(Run& run) {
  run.write(alone(run, "destroy_gi"), "3\n", ENOENT);
  run.write(alone(run, "destroy_gi"), "nonsense\n", EINVAL);
  run.write(alone(run, "destroy_gi"), "3 4\n", EINVAL);
}

std::string compute_instance_of_2g(Run& run) {
  run.write(alone(run, "create_gi"), "14 2\n");
  run.write(alone(run, "create_ci"), "4 2\n");
  const std::string line = run.host.line(alone(run, "compute_instances"));
  run.write(alone(run, "destroy_ci"), "4 0\n");
  run.write(alone(run, "destroy_gi"), "4\n");
  return line;
}

void uuid_outlives_its_instance(Run& run) {
  const std::string first = compute_instance_of_2g(run);
  run.equal("length of the line", std::to_string(std::string("4 0 2 0 MIG-").size() + 36),
            std::to_string(first.size()));
  run.equal("compute instance made again", first, compute_instance_of_2g(run));
}

void mode_needs_an_empty_gpu(Run& run) {
  create(run, "14 0", "3");
  run.write(alone(run, "mig_mode"), "0\n", EBUSY);
  run.write(alone(run, "mig_mode"), "1\n");
  run.write(alone(run, "mig_mode"), "perhaps\n", EINVAL);
  run.text(alone(run, "mig_mode"), "1");
}

void mode_off(Run& run) {
  run.later([&run] { run.write(alone(run, "mig_mode"), "1\n"); });
  run.write(alone(run, "mig_mode"), "0\n");
  run.text(alone(run, "mig_mode"), "0");
  run.write(alone(run, "create_gi"), "14\n", EOPNOTSUPP);
}

void mode_needs_no_vfs(Run& run) {
  run.write(gpu_file(run, "lab/mig_mode"), "0\n", EBUSY);
  run.text(gpu_file(run, "lab/mig_mode"), "1");
}

void board_without_mig(Run& run) {
  const std::string path = device_path(run.roles.grouped_gpu) + "/lab/";
  run.text(path + "mig_mode", "0");
  run.write(path + "mig_mode", "1\n", EOPNOTSUPP);
  run.write(path + "create_gi", "14\n", EOPNOTSUPP);
  run.text(path + "profiles", "");
}

void lost_with_the_driver(Run& run) {
  run.write(alone(run, "create_gi"), "14 0\n");
  run.later([&run] { run.write(alone(run, "mig_mode"), "1\n"); });
  run.without_driver(run.roles.mig_gpu);
  run.gone(alone(run, "mig_mode"));
  run.probe(run.roles.mig_gpu);
  run.text(alone(run, "gpu_instances"), "");
  // Only Ampere boards keep the mode.
  run.text(alone(run, "mig_mode"), "0");
}

void mode_of_ampere_outlives_the_driver(Run& run) {
  run.with_vfs(run.roles.sriov_gpu, 0);
  run.write(gpu_file(run, "lab/create_gi"), "14 0\n");
  run.without_driver(run.roles.sriov_gpu);
  run.probe(run.roles.sriov_gpu);
  run.text(gpu_file(run, "lab/mig_mode"), "1");
  run.text(gpu_file(run, "lab/gpu_instances"), "");
}

void access(Run& run) {
  for (const char* file : {"create_gi", "destroy_gi", "create_ci", "destroy_ci"})
    run.unreadable(alone(run, file), EACCES);
  for (const char* file : {"gpu", "profiles", "gpu_instances", "compute_instances", "vgpu_types", "vgpus"}) {
    run.write(alone(run, file), "1\n", EACCES);
  }
}

void types_of_a_board(Run& run) {
  run.text(alone(run, "vgpu_types"), "");
  run.equal("types that can be made without a GPU instance", "0",
            run.host.read(gpu_file(run, "lab/vgpu_types")).text.find(" 1 GRID") == std::string::npos ? "0" : "some");
  make_2g(run, 0);
  const std::string line = "700 14 19968 3 1 GRID A100D-2-20C\n";
  if (run.host.read(gpu_file(run, "lab/vgpu_types")).text.find(line) == std::string::npos) {
    throw Mismatch("lab/vgpu_types: wanted " + line + ", saw " + run.host.read(gpu_file(run, "lab/vgpu_types")).text);
  }
}

}  // namespace

std::vector<Case> mig_cases() {
  return {
      {"mig.no_such_profile", no_such_profile},
      {"mig.placements", placements},
      {"mig.highest_place_by_default", highest_place_by_default},
      {"mig.capacity", capacity},
      {"mig.at_most_one_with_media_engines", at_most_one_with_media_engines},
      {"mig.whole", whole},
      {"mig.compute_instances", compute_instances},
      {"mig.destroy_of_nothing", destroy_of_nothing},
      {"mig.uuid_outlives_its_instance", uuid_outlives_its_instance},
      {"mig.mode_needs_an_empty_gpu", mode_needs_an_empty_gpu},
      {"mig.mode_off", mode_off},
      {"mig.mode_needs_no_vfs", mode_needs_no_vfs},
      {"mig.board_without_mig", board_without_mig},
      {"mig.lost_with_the_driver", lost_with_the_driver},
      {"mig.mode_of_ampere_outlives_the_driver", mode_of_ampere_outlives_the_driver},
      {"mig.access", access},
      {"mig.types_of_a_board", types_of_a_board},
  };
}

}  // namespace slicebroker::conformance
