// SPDX-License-Identifier: Apache-2.0
// Mediated devices, per Documentation/driver-api/vfio-mediated-device.rst. Reads only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vfio/base/pci_address.h"
#include "vfio/base/uuid.h"
#include "vfio/host/host_root.h"

namespace slicebroker::vfio {

// One type that one parent offers: parent/mdev_supported_types/<id>.
struct MdevType {
  PciAddress parent;
  std::string id;          // "nvidia-699": unique per card model only
  std::string name;        // "GRID A100D-1-10C"; the id where the driver gives no name
  std::string device_api;  // "vfio-pci"
  std::uint32_t available = 0;
  std::optional<std::uint64_t> framebuffer_mib = {};  // as its description tells (see vfio/mdev/description.h)
  std::optional<std::uint32_t> max_instances = {};
};

// A mediated device that exists.
struct MdevDevice {
  Uuid uuid;
  std::optional<PciAddress> parent;  // nullopt: the parent is no PCI function
  std::string type_id;               // "nvidia-699"
  std::optional<std::uint32_t> iommu_group;
  std::vector<std::string> vfio_devices;         // names in vfio-dev/: "vfio0"
  std::optional<std::uint32_t> gpu_instance_id;  // nvidia/gpu_instance_id of a MIG-backed vGPU
};

// The types of every PCI parent, by parent and id. Empty where the host has no mdev core.
Result<std::vector<MdevType>> list_mdev_types(const HostRoot& host, std::vector<Error>& problems);

// Every mediated device, by UUID.
Result<std::vector<MdevDevice>> list_mdev_devices(const HostRoot& host, std::vector<Error>& problems);

// One device; nullopt where there is none.
Result<std::optional<MdevDevice>> find_mdev_device(const HostRoot& host, const Uuid& uuid);

// The function that carries a device, which its link tells without asking it; nullopt: no PCI function.
Result<std::optional<PciAddress>> find_mdev_parent(const HostRoot& host, const Uuid& uuid);

// nvidia/gpu_instance_id below a vGPU's directory; nullopt where the file is absent, reads ENXIO (no vGPU yet), or
// says that the vGPU has no GPU instance (source: nvidia.md 3.2).
Result<std::optional<std::uint32_t>> find_gpu_instance_id(const HostRoot& host, const std::string& directory);

// The device nodes by which a process can hold the device: its VFIO group and device.
std::vector<std::string> device_nodes(const MdevDevice& device);

std::string mdev_path(const Uuid& uuid, std::string_view leaf = {});

}  // namespace slicebroker::vfio
