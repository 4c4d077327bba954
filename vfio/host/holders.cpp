// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/holders.h"

#include <algorithm>

#include "vfio/base/text.h"
#include "vfio/host/child.h"

namespace slicebroker::vfio {
namespace {

bool numbered(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) && parse_number<std::uint32_t>(text.substr(prefix.size())).has_value();
}

bool is_device_node(std::string_view path) {
  return numbered(path, "/dev/vfio/") || numbered(path, "/dev/vfio/devices/vfio") || numbered(path, "/dev/nvidia") ||
         numbered(path, "/dev/dri/card") || numbered(path, "/dev/dri/renderD");
}

// The last part of "0::/system.slice/nvidia-dcgm.service" that is a service or a scope.
std::string find_unit(const HostRoot& host, const std::string& process) {
  const auto text = host.find_attr("proc/" + process + "/cgroup");
  if (!text || !*text) return "";
  for (const auto line : split(**text, '\n')) {
    const auto parts = split(line, '/');
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      if (part->ends_with(".service") || part->ends_with(".scope")) return std::string(*part);
    }
  }
  return "";
}

void add_holders(const HostRoot& host, const std::string& process, std::vector<Holder>& holders) {
  const auto pid = parse_number<std::uint32_t>(process);
  const auto descriptors = host.find_dir("proc/" + process + "/fd");
  if (!pid || !descriptors) return;
  for (const auto& descriptor : *descriptors) {
    const auto target = host.read_link("proc/" + process + "/fd/" + descriptor);
    if (!target || !is_device_node(*target)) continue;
    const auto command = host.find_attr("proc/" + process + "/comm");
    Holder holder{static_cast<pid_t>(*pid), command && *command ? **command : "?", *target, find_unit(host, process)};
    if (std::find(holders.begin(), holders.end(), holder) == holders.end()) holders.push_back(std::move(holder));
  }
}

}  // namespace

Result<std::vector<Holder>> list_holders(const HostRoot& host) {
  std::vector<Holder> holders;
  SLICEBROKER_TRY(const auto processes, host.find_dir("proc"));
  for (const auto& process : processes) {
    if (!process.empty() && process.front() >= '0' && process.front() <= '9') add_holders(host, process, holders);
  }
  return holders;
}

std::vector<Holder> holders_of(const std::vector<Holder>& holders, const std::vector<std::string>& nodes) {
  std::vector<Holder> found;
  for (const auto& holder : holders) {
    if (std::find(nodes.begin(), nodes.end(), holder.node) != nodes.end()) found.push_back(holder);
  }
  return found;
}

std::string describe(const Holder& holder) {
  const std::string unit = holder.unit.empty() ? "" : ", " + holder.unit;
  return "pid " + std::to_string(holder.pid) + " (" + holder.command + unit + ") has " + holder.node + " open";
}

namespace {

struct Stat {
  ProcessIdentity identity;
  pid_t parent = 0;
};

std::optional<Stat> find_stat(const HostRoot& host, pid_t pid) {
  const auto stat = host.read_attr("proc/" + std::to_string(pid) + "/stat");
  if (!stat) return std::nullopt;
  // The command in parentheses may hold blanks and parentheses itself; the numbered fields follow the last one.
  const auto end = stat->rfind(") ");
  if (end == std::string::npos) return std::nullopt;
  const auto fields = split(std::string_view(*stat).substr(end + 2), ' ');
  constexpr std::size_t kState = 0;  // field 3 of the file
  constexpr std::size_t kParent = 1;
  constexpr std::size_t kStartTime = 19;  // field 22
  if (fields.size() <= kStartTime || fields[kState] == "Z" || fields[kState] == "X") return std::nullopt;
  const auto start = parse_number<std::uint64_t>(fields[kStartTime]);
  if (!start) return std::nullopt;
  const auto parent = parse_number<std::uint32_t>(fields[kParent]);
  return Stat{{pid, *start}, static_cast<pid_t>(parent.value_or(0))};
}

// A child whose parent waits for it is that one's business.
bool has_living_broker(const HostRoot& host, pid_t parent) {
  const auto command = host.find_attr("proc/" + std::to_string(parent) + "/comm");
  return parent > 1 && command && *command && (*command)->starts_with("slicebroker");
}

}  // namespace

std::optional<ProcessIdentity> find_process(const HostRoot& host, pid_t pid) {
  const auto stat = find_stat(host, pid);
  return stat ? std::optional(stat->identity) : std::nullopt;
}

Result<std::vector<ProcessIdentity>> list_late_writers(const HostRoot& host) {
  std::vector<ProcessIdentity> writers;
  SLICEBROKER_TRY(const auto processes, host.find_dir("proc"));
  for (const auto& process : processes) {
    const auto pid = parse_number<std::uint32_t>(process);
    const auto command = pid ? host.read_attr("proc/" + process + "/comm") : Result<std::string>();
    if (!pid || !command || *command != kWriterName) continue;
    const auto stat = find_stat(host, static_cast<pid_t>(*pid));
    if (stat && !has_living_broker(host, stat->parent)) writers.push_back(stat->identity);
  }
  return writers;
}

Result<std::string> read_boot_id(const HostRoot& host) {
  return host.read_attr("proc/sys/kernel/random/boot_id");
}

}  // namespace slicebroker::vfio
