// SPDX-License-Identifier: Apache-2.0
// Hosts as values, for everything that plans without a host.
//
//   0000:41:00.0  A100 on nvidia, IOMMU group 13, /dev/nvidia0; 16 VFs possible, 0000:41:00.4 and .5 where enabled
//                 MIG on: GI 1 (3g.40gb), GI 3 and GI 5 (1g.10gb), one compute instance each
//                 vGPU types 699 (1g.10gb, 10 GiB), 698 (1g.10gb, 5 GiB), 702 (3g.40gb), 468 (time-sliced)
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/request/request.h"
#include "broker/resolver/resolver.h"
#include "vfio/inventory.h"

namespace slicebroker::broker {

// Under the policy that allows everything.
inline Result<Resolution> resolve(const vfio::Inventory& inventory, const std::vector<Hold>& holds,
                                  const Request& request) {
  return resolve(inventory, holds, request, Policy{});
}

}  // namespace slicebroker::broker

namespace slicebroker::test {

constexpr PciAddress kGpu{0, 0x41, 0, 0};
constexpr PciAddress kAudio{0, 0x41, 0, 1};
constexpr PciAddress kVf0{0, 0x41, 0, 4};
constexpr PciAddress kVf1{0, 0x41, 0, 5};
constexpr PciAddress kOtherGpu{0, 0xc4, 0, 0};
constexpr PciAddress kNvswitch{0, 0x05, 0, 0};
constexpr PciAddress kIntelGpu{0, 0, 2, 0};
const std::string kGpuUuid = "GPU-aaaaaaaa-0000-1111-2222-333333333333";
const std::string kMig1 = "MIG-00000000-0000-5000-8000-000000000001";
const std::string kMig3 = "MIG-00000000-0000-5000-8000-000000000003";
const std::string kMig5 = "MIG-00000000-0000-5000-8000-000000000005";
const std::string kMdev = "6f1c2d3e-0000-5000-8000-00000000000a";
const std::string kFreshMdev = "11111111-2222-4333-8444-555555555555";  // what request() would have made

struct Pci {
  std::uint32_t class_code = 0x030200;
  std::optional<std::string> driver = "nvidia";
  std::optional<std::uint32_t> iommu_group = {};
  std::vector<std::string> vfio_devices = {};
  std::uint16_t vendor = vfio::kVendorNvidia;
};

vfio::PciFunction pci(const PciAddress& address, const Pci& state);
void add(vfio::Inventory& host, vfio::PciFunction function);  // keeps the order by address
vfio::PciFunction& function_at(vfio::Inventory& host, const PciAddress& address);

vfio::Inventory gpu_without_nvml();  // the GPU, no NVML, vfio-pci loaded
vfio::Inventory plain_gpu();         // and NVML, which knows of no MIG on it
vfio::Inventory mig_gpu();           // and its MIG layout instead; VFs off
vfio::Inventory mig_gpu_with_vfs();  // and two VFs that no framework surfaces
vfio::Inventory vendor_host();       // and on both VFs the vendor VFIO framework, every type creatable
vfio::Inventory mdev_host();         // and on both VFs the mdev framework instead, every type available

vfio::Inventory gvt_host();  // instead an Intel GPU with two GVT-g types, of which one is used up

void add_nvswitch(vfio::Inventory& host);    // run by the host's fabric manager
void switch_mig_off(vfio::Inventory& host);  // of the first GPU: its instances and what they could back are gone

vfio::nvidia::VendorVf& vendor_vf_at(vfio::Inventory& host, const PciAddress& address);
void add_mdev(vfio::Inventory& host, const PciAddress& parent, const std::string& type_id,
              std::optional<std::uint32_t> gpu_instance, std::uint32_t iommu_group = 77);
void set_available(vfio::Inventory& host, const std::string& type_id, std::uint32_t available);

// For libvirt 11.3, which takes every surface.
broker::Request request(const std::string& selector);
broker::Request request_for(const std::string& selector, hypervisors::HypervisorKind hypervisor,
                            std::optional<hypervisors::Version> version);
broker::Hold hold(const std::string& device, const std::string& owner = "libvirt:db2", std::int64_t generation = 7,
                  const PciAddress& gpu = kGpu);

// One line a candidate: "vendor-vf 0000:41:00.4 granted", "gpu 0000:41:00.0 GPU_NOT_IDLE".
std::vector<std::string> verdicts(const broker::Resolution& resolution);
std::vector<std::string> descriptions(const std::vector<vfio::Step>& steps);

}  // namespace slicebroker::test
