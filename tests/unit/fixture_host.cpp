// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/fixture_host.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "vfio/base/text.h"
#include "vfio/pci/modalias.h"

namespace slicebroker::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFunctions = "sys/devices/pci0000:00";

// In memory where there is such a place: a tree is some hundred files.
std::string temporary_directory() {
  constexpr const char* kMemory = "/dev/shm/";
  return ::access(kMemory, W_OK) == 0 ? kMemory : testing::TempDir();
}

void must(bool done, const std::string& what) {
  if (!done) throw std::runtime_error(what + ": " + std::strerror(errno));
}

std::string modalias_of(const FunctionSpec& spec) {
  vfio::PciIdentity identity;
  identity.vendor = parse_hex<std::uint16_t>(spec.vendor).value();
  identity.device = parse_hex<std::uint16_t>(spec.device).value();
  identity.class_code = parse_hex<std::uint32_t>(spec.class_code).value();
  return vfio::to_modalias(identity);
}

}  // namespace

std::string device_path(const PciAddress& address, const std::string& leaf) {
  return std::string(kFunctions) + "/" + address.to_string() + (leaf.empty() ? "" : "/" + leaf);
}

FixtureHost::FixtureHost() : directory_(temporary_directory() + "slicebroker-fixture-XXXXXX") {
  must(::mkdtemp(directory_.data()) != nullptr, directory_);
  make_directory("sys/bus/pci/devices");
  make_directory("sys/bus/pci/drivers");
  write("sys/bus/pci/drivers_probe", "");
  make_directory("dev/vfio");
  make_directory("proc");
  set_boot_id("11111111-2222-4333-8444-555555555555");
}

FixtureHost::~FixtureHost() {
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

vfio::HostRoot FixtureHost::root() const {
  return vfio::HostRoot::open(directory_).value();
}

vfio::Host FixtureHost::host(std::chrono::milliseconds deadline) const {
  return {root(), "/nonexistent/libnvidia-ml.so.1", deadline};
}

void FixtureHost::write(const std::string& path, std::string_view text) const {
  fs::create_directories(fs::path(at(path)).parent_path());
  std::ofstream file(at(path), std::ios::binary | std::ios::trunc);
  file << text;
  must(file.good(), path);
}

void FixtureHost::link(const std::string& path, const std::string& target) const {
  fs::create_directories(fs::path(at(path)).parent_path());
  fs::remove(at(path));
  fs::create_symlink(target, at(path));
}

void FixtureHost::make_directory(const std::string& path) const {
  fs::create_directories(at(path));
}

void FixtureHost::make_fifo(const std::string& path) const {
  fs::create_directories(fs::path(at(path)).parent_path());
  fs::remove(at(path));
  must(::mkfifo(at(path).c_str(), 0600) == 0, path);
}

void FixtureHost::make_unreadable(const std::string& path) const {
  fs::create_directories(fs::path(at(path)).parent_path());
  fs::remove(at(path));
  must(::mknod(at(path).c_str(), S_IFSOCK | 0600, 0) == 0, path);
}

void FixtureHost::remove(const std::string& path) const {
  fs::remove_all(at(path));
}

std::string FixtureHost::read(const std::string& path) const {
  std::ifstream file(at(path), std::ios::binary);
  must(file.good(), path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool FixtureHost::exists(const std::string& path) const {
  return fs::exists(fs::symlink_status(at(path)));
}

FixtureHost::Snapshot FixtureHost::snapshot() const {
  Snapshot files;
  for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
    const auto path = entry.path().lexically_relative(directory_).string();
    if (entry.is_symlink()) {
      files[path] = "-> " + fs::read_symlink(entry.path()).string();
    } else if (entry.is_regular_file()) {
      files[path] = read(path);
    } else {
      files[path] = entry.is_directory() ? "(directory)" : "(special)";
    }
  }
  return files;
}

testing::AssertionResult FixtureHost::is_as(const Snapshot& before) const {
  const auto now = snapshot();
  auto all = before;
  all.insert(now.begin(), now.end());
  std::string differences;
  const auto text_in = [](const Snapshot& files, const std::string& path) {
    const auto at = files.find(path);
    return at == files.end() ? std::string("(absent)") : at->second.substr(0, 80);
  };
  for (const auto& [path, text] : all) {
    if (before.contains(path) && now.contains(path) && before.at(path) == now.at(path)) continue;
    differences += "\n  " + path + ": '" + text_in(before, path) + "' became '" + text_in(now, path) + "'";
  }
  if (differences.empty()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "the host changed:" << differences;
}

void FixtureHost::add_function(const PciAddress& address, const FunctionSpec& spec) const {
  const auto name = address.to_string();
  write(device_path(address, "vendor"), spec.vendor + "\n");
  write(device_path(address, "device"), spec.device + "\n");
  write(device_path(address, "class"), spec.class_code + "\n");
  write(device_path(address, "modalias"), modalias_of(spec) + "\n");
  write(device_path(address, "driver_override"), spec.driver_override + "\n");
  write(device_path(address, "power/control"), "on\n");
  write(device_path(address, "reset"), "1");  // as after a reset, so that one more changes nothing
  write(device_path(address, "reset_method"), "flr\n");
  link("sys/bus/pci/devices/" + name, "../../../devices/pci0000:00/" + name);
  set_driver(address, spec.driver);
  if (spec.iommu_group) {
    const auto group = std::to_string(*spec.iommu_group);
    link("sys/kernel/iommu_groups/" + group + "/devices/" + name, "../../../../devices/pci0000:00/" + name);
    link(device_path(address, "iommu_group"), "../../../kernel/iommu_groups/" + group);
  }
  if (!spec.vfio_device.empty()) {
    make_directory(device_path(address, "vfio-dev/" + spec.vfio_device));
    if (spec.iommu_group) write("dev/vfio/" + std::to_string(*spec.iommu_group), "");
  }
}

void FixtureHost::set_driver(const PciAddress& address, const std::string& driver) const {
  if (driver.empty()) return remove(device_path(address, "driver"));
  const std::string directory = "sys/bus/pci/drivers/" + driver;
  if (!exists(directory + "/unbind")) write(directory + "/unbind", "");
  link(device_path(address, "driver"), "../../../bus/pci/drivers/" + driver);
}

void FixtureHost::set_vfs(const PciAddress& physical, const std::vector<PciAddress>& vfs, unsigned total) const {
  write(device_path(physical, "sriov_totalvfs"), std::to_string(total) + "\n");
  write(device_path(physical, "sriov_numvfs"), std::to_string(vfs.size()) + "\n");
  for (std::size_t i = 0; i < vfs.size(); ++i) {
    link(device_path(physical, "virtfn" + std::to_string(i)), "../" + vfs[i].to_string());
    link(device_path(vfs[i], "physfn"), "../" + physical.to_string());
  }
}

void FixtureHost::set_nvidia_minor(const PciAddress& address, unsigned minor) const {
  write("proc/driver/nvidia/gpus/" + address.to_string() + "/information",
        "Model: \t\t NVIDIA A100 80GB PCIe\nIRQ:   \t\t 77\nDevice Minor: \t " + std::to_string(minor) +
            "\nGPU Excluded:\t No\n");
}

void FixtureHost::set_vendor_vf(const PciAddress& vf, const std::string& current_type,
                                const std::string& creatable) const {
  write(device_path(vf, "nvidia/current_vgpu_type"), current_type + "\n");
  write(device_path(vf, "nvidia/creatable_vgpu_types"), creatable);
}

void FixtureHost::add_mdev_type(const PciAddress& parent, const std::string& id, const std::string& type_name,
                                const std::string& available) const {
  const auto type = device_path(parent, "mdev_supported_types/" + id);
  write(type + "/name", type_name + "\n");
  write(type + "/device_api", "vfio-pci\n");
  write(type + "/available_instances", available + "\n");
  write(type + "/create", "");
  link("sys/class/mdev_bus/" + parent.to_string(), "../../devices/pci0000:00/" + parent.to_string());
}

void FixtureHost::add_mdev(const std::string& uuid, const PciAddress& parent, const std::string& type_id,
                           std::uint32_t iommu_group) const {
  const auto device = device_path(parent, uuid);
  const auto group = std::to_string(iommu_group);
  write(device + "/remove", "");
  link(device + "/mdev_type", "../mdev_supported_types/" + type_id);
  link(device + "/iommu_group", "../../../../kernel/iommu_groups/" + group);
  make_directory(device + "/vfio-dev/vfio" + group);
  make_directory("sys/kernel/iommu_groups/" + group);
  write("dev/vfio/" + group, "");
  link("sys/bus/mdev/devices/" + uuid, "../../../devices/pci0000:00/" + parent.to_string() + "/" + uuid);
}

void FixtureHost::remove_mdev(const std::string& uuid) const {
  remove("sys/bus/mdev/devices/" + uuid);
}

void FixtureHost::add_process(pid_t pid, const std::string& command, const std::vector<std::string>& nodes,
                              std::uint64_t start_time, char state) const {
  const auto process = "proc/" + std::to_string(pid);
  write(process + "/comm", command + "\n");
  std::string numbers;
  for (int field = 4; field < 22; ++field) numbers += " " + std::to_string(field);
  write(process + "/stat",
        std::to_string(pid) + " (" + command + ") " + state + numbers + " " + std::to_string(start_time) + " 0 0\n");
  link(process + "/fd/0", "/dev/null");
  for (std::size_t i = 0; i < nodes.size(); ++i) link(process + "/fd/" + std::to_string(i + 3), nodes[i]);
}

void FixtureHost::remove_process(pid_t pid) const {
  remove("proc/" + std::to_string(pid));
}

void FixtureHost::set_boot_id(const std::string& boot_id) const {
  write("proc/sys/kernel/random/boot_id", boot_id + "\n");
}

}  // namespace slicebroker::test
