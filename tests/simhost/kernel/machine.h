// SPDX-License-Identifier: Apache-2.0
// The state of a simulated host, and what each area of the model offers the others. Every errno here is positive, and
// functions that return int return 0 or one.
//
//   boards         what hardware is: data
//   boot, description    a host file, line by line; command: what its last part and the control file do
//   files          attributes, and how the kernel reads numbers
//   pci, iommu     functions, bridges and their links; groups
//   drivers        binding; known_drivers: which drivers there are
//   vfio           VFIO devices, /dev/vfio
//   sriov, mdev    virtual functions; mediated devices of any driver
//   nvidia/        the driver: gpu, mig, vgpu, vendor_vf, lab (control files)
//   proc           what else is in /proc, /sys/module and /lib/modules
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simhost/kernel/boards.h"
#include "tests/simhost/processes.h"
#include "tests/simhost/tree.h"

namespace slicebroker::simhost::model {

struct Machine;
struct Function;
struct Mdev;
struct Gpu;
struct Vgpu;

// A kernel's device_lock(): an operation that finds it taken waits.
struct Lock {
  bool taken = false;
};

struct IommuGroup {
  unsigned id = 0;
  std::set<std::string> devices;  // paths below the root
  bool emulated = false;          // an mdev's
  bool opened = false;            // /dev/vfio/<id>
  bool claimed = false;           // its DMA belongs to whoever opened it: host drivers stay out
};

struct VfioDevice {
  std::string name;       // "vfio0"
  std::string directory;  // of the device whose interface it is
  unsigned group = 0;
  unsigned openers = 0;            // 0: nobody uses the device
  std::function<bool()> can_open;  // none: always
};

struct Function {
  Function();
  ~Function();

  std::string bdf;
  std::string directory;  // "sys/devices/pci0000:00/0000:00:14.0/0000:06:00.0"
  const Board* board = nullptr;
  std::uint16_t device = 0;
  std::optional<unsigned> group;
  const Function* companion = nullptr;  // whose IOMMU group it shares
  std::optional<std::string> driver_override;
  std::string driver;       // empty: none
  bool link_shown = false;  // an unbind that waits has taken the link away already
  Lock lock;
  bool present = true;
  std::string power_control = "on";
  std::string reset_methods;
  int numa_node = 0;
  std::string vfio;  // its VFIO device; empty: none

  unsigned vf_count = 0;
  bool vf_autoprobe = true;
  std::vector<Function*> vfs;
  Function* physical = nullptr;  // of a VF
  unsigned vf_index = 0;

  std::unique_ptr<Gpu> gpu;    // of NVIDIA's PFs
  std::unique_ptr<Vgpu> vgpu;  // of a VF that the nvidia driver holds, and of what else carries one vGPU
};

// Which functions a driver is for. -1 and 0: any.
struct DriverMatch {
  int vendor = -1;
  int device = -1;
  std::uint32_t class_code = 0;
  std::uint32_t class_mask = 0;
};

struct Driver {
  std::string name;    // in /sys/bus/pci/drivers
  std::string module;  // in /sys/module; empty: built in
  std::vector<DriverMatch> ids;
  bool only_by_override = false;                // as vfio-pci's ids are
  bool leaves_dma = false;                      // driver_managed_dma: doesn't claim the group's DMA for the host
  int (*probe)(Machine&, Function&) = nullptr;  // none: takes every function
  int (*remove)(Machine&, Function&, Caller&) = nullptr;  // may wait; EINTR where the host is taken down
  int (*configure_sriov)(Machine&, Function&, unsigned count, Caller&) = nullptr;
  std::vector<DriverMatch> new_ids = {};
};

struct MdevType {
  std::string id;  // below mdev_supported_types, without the driver's name
  std::string name;
  std::string description;
  std::function<unsigned()> available;
  std::function<int(Mdev&)> create;
};

struct Mdev {
  Mdev();
  ~Mdev();

  std::string uuid;
  Function* parent = nullptr;
  std::string type;  // "nvidia-699"
  std::string directory;
  std::string driver;
  std::string vfio;
  bool going = false;
  std::unique_ptr<Vgpu> vgpu;
};

struct MdevParent {
  std::string driver;       // of its mdevs
  std::string type_prefix;  // of its types' names: "nvidia"
  std::vector<MdevType> types;
  std::function<void(Mdev&)> add_files;
  std::function<void(Mdev&)> destroy;
};

enum class VgpuFramework { kNone, kMdev, kVendor };

struct NvidiaDriver {
  bool present = false;
  std::string version = "570.124.06";
  VgpuFramework framework = VgpuFramework::kNone;
  bool types_in_columns = false;  // the other recorded format of creatable_vgpu_types
  bool highest_gi_first = false;
  bool raw_numvfs = true;          // false: sriov_numvfs only as sriov-manage writes it
  bool vfs_take_vfio_pci = false;  // the real ones don't; the lab's do
};

struct Machine {
  Machine(Tree& its_tree, Processes& its_processes) : tree(its_tree), processes(its_processes) {}

  Tree& tree;
  Processes& processes;

  std::string kernel = "6.12.57+deb13-amd64";
  std::string command_line = "BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro quiet intel_iommu=on iommu=pt";
  unsigned boots = 0;
  bool iommu = true;
  bool iommufd = false;
  std::string nvml = "yes";  // yes, none, old
  NvidiaDriver nvidia;

  std::map<std::string, Function*> functions;  // present ones, by address
  std::deque<Function> all_functions;          // nothing is freed: a write that waits may still look at it
  std::map<std::string, Driver> drivers;       // by name
  std::set<std::string> modules;               // names of all drivers that were ever there
  bool drivers_autoprobe = true;
  std::map<unsigned, IommuGroup> groups;
  std::map<std::string, VfioDevice> vfio_devices;  // by name
  std::map<std::string, MdevParent> mdev_parents;  // by address
  std::map<std::string, Mdev*> mdevs;              // by UUID
  std::deque<Mdev> all_mdevs;
  std::map<std::string, std::string> files;    // of the administrator, by path
  std::map<unsigned, std::string> drm_cards;   // N of cardN: address
  std::map<unsigned, std::string> nvswitches;  // N of /dev/nvidia-nvswitchN: address

  Function* find_function(std::string_view bdf) const;
  bool kernel_at_least(unsigned major, unsigned minor) const;
};

// --- files -------------------------------------------------------------------------------------------------------

using Store = std::function<int(std::string_view, Caller&)>;

File read_only(std::function<std::string()> show);  // the newline is added
File read_only_or(std::function<Text()> show);      // as it is
File read_write(std::function<std::string()> show, Store store);
File write_only(Store store);
File unmodelled(std::string text);  // readable; a write fails the test

// kstrtoul, kstrtobool: one newline at the end may be there. nullopt: EINVAL.
std::optional<unsigned long> read_number(std::string_view text, int base = 0);
std::optional<bool> read_bool(std::string_view text);
std::string_view without_newline(std::string_view text);
// The relative link from `link` to `target`, both below the root, as sysfs makes them.
std::string relative_link(const std::string& link, const std::string& target);
// With device_lock() taken meanwhile, as some attributes of a device are shown.
File locked(File file, Lock& lock);
void link_to(Machine& machine, const std::string& link, const std::string& target);
void remove_if_there(Machine& machine, const std::string& path);
std::string hex(unsigned long value, unsigned digits);

// Takes a lock, waiting for it; taken() is false where the host was taken down meanwhile.
class Guard {
 public:
  Guard(Lock& lock, Caller& caller);
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  bool taken() const { return taken_; }

 private:
  Lock& lock_;
  bool taken_;
};

// --- pci ---------------------------------------------------------------------------------------------------------

struct Address {
  unsigned domain = 0, bus = 0, slot = 0, function = 0;
  unsigned routing_id() const { return bus << 8 | slot << 3 | function; }
  std::string to_string() const;
  static std::optional<Address> parse(std::string_view text);  // "0000:41:00.0" alone
  static Address of_routing_id(unsigned domain, unsigned routing_id);
};

void add_pci_bus(Machine& machine);
// Shows a function: its directory, links, attributes. Its driver comes later.
void add_function(Machine& machine, Function& function);
// Takes it away, its driver first.
int remove_function(Machine& machine, Function& function, Caller& caller);
std::string modalias(const Function& function);
void add_drm(Machine& machine, Function& function);
void remove_drm(Machine& machine, Function& function);

// --- iommu ---------------------------------------------------------------------------------------------------------

// Adds a device to a group: the one named, or the lowest free one.
unsigned join_group(Machine& machine, const std::string& directory, std::optional<unsigned> id, bool emulated);
void leave_group(Machine& machine, const std::string& directory, unsigned id);
// Whether all of its DMA can be given to one user: no member is on a driver that claims it for the host.
bool is_viable(const Machine& machine, const IommuGroup& group);

// --- drivers -------------------------------------------------------------------------------------------------------

void add_driver(Machine& machine, Driver driver);  // loads it; binds nothing yet
int remove_driver(Machine& machine, const std::string& name, Caller& caller);
bool matches(const Driver& driver, const Function& function);
// What the kernel does for a new function and for drivers_probe. An error of a driver's probe is none here.
int probe_all(Machine& machine, Function& function, Caller& caller);
int bind_driver(Machine& machine, Driver& driver, const std::string& bdf, Caller& caller);
int unbind_driver(Machine& machine, Function& function, Caller& caller);
std::vector<Driver> known_drivers(const Machine& machine);  // known_drivers.cpp

// --- vfio, sriov, mdev -------------------------------------------------------------------------------------------

void add_vfio(Machine& machine);
int register_vfio(Machine& machine, const std::string& directory, unsigned group, std::string& name,
                  std::function<bool()> can_open = {});
// Waits until nobody has it open.
int unregister_vfio(Machine& machine, std::string& name, Caller& caller);
int probe_vfio_pci(Machine& machine, Function& function);
int remove_vfio_pci(Machine& machine, Function& function, Caller& caller);
bool is_open(const Machine& machine, const std::string& vfio);

void add_sriov_files(Machine& machine, Function& function);
int enable_vfs(Machine& machine, Function& function, unsigned count, Caller& caller);
int disable_vfs(Machine& machine, Function& function, Caller& caller);
int store_numvfs(Machine& machine, Function& function, std::string_view text, Caller& caller);
int configure_sriov_simply(Machine& machine, Function& function, unsigned count, Caller& caller);

void register_mdev_parent(Machine& machine, Function& function, MdevParent parent);
int unregister_mdev_parent(Machine& machine, Function& function, Caller& caller);
int create_mdev(Machine& machine, Function& parent, const std::string& type, std::string_view text);
int remove_mdev(Machine& machine, Mdev& mdev, Caller& caller);

// --- command, proc -------------------------------------------------------------------------------------------------

using Outcome = tl::expected<void, std::string>;

// A whole host file.
Outcome read_host(Machine& machine, std::string_view description);
// One line: what changes a host from outside. command.cpp has the list.
Outcome run_command(Machine& machine, const std::string& line);

void add_proc(Machine& machine);
void add_module(Machine& machine, const std::string& name, const std::string& version = {});
void add_node(Machine& machine, const std::string& path);  // a device node that anybody may open

}  // namespace slicebroker::simhost::model
