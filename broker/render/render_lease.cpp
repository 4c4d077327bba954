// SPDX-License-Identifier: Apache-2.0
// Requests and leases: explain, attach, detach, list leases, reconcile.
#include "broker/render/error.h"
#include "broker/render/json.h"
#include "broker/render/render.h"
#include "broker/render/table.h"

namespace slicebroker::broker {
namespace {

using nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

std::string target_text(const Target& target) {
  std::string text(hypervisors::name(target.hypervisor));
  return text + (target.version ? " " + target.version->to_string() : " (version not known: taken for the newest)");
}

std::string device_of(const hypervisors::Attachment& attachment) {
  if (attachment.mdev) return attachment.mdev->to_string();
  return attachment.function ? attachment.function->to_string() : "-";
}

std::string_view verdict_of(const Resolution& resolution, const Candidate& candidate) {
  if (!candidate.accepted()) return "rejected";
  return &candidate == resolution.granted() ? "granted" : "possible";
}

std::string_view surface_of(const Candidate& candidate) {
  return candidate.surface ? hypervisors::name(*candidate.surface) : "-";
}

// A mediated device's UUID is drawn anew by each call, so a plan names none: attach would use another.
std::string without_new_uuid(const Plan& plan, std::string text) {
  constexpr std::string_view kStandIn = "new UUID";
  for (const auto& step : plan.steps) {
    const auto* create = std::get_if<vfio::CreateMdev>(&step);
    const std::string uuid = create != nullptr ? create->uuid.to_string() : "";
    for (auto at = text.find(uuid); !uuid.empty() && at != std::string::npos; at = text.find(uuid, at)) {
      text.replace(at, uuid.size(), kStandIn);
    }
  }
  return text;
}

std::string plan_text(const Candidate& candidate) {
  const Plan& plan = candidate.plan;
  std::string text;
  int number = 1;
  for (const auto& step : plan.steps) text += "  " + std::to_string(number++) + ". " + describe(step) + "\n";
  if (text.empty()) text = "  nothing to change on the host\n";
  if (!candidate.note.empty()) text += "  note: " + candidate.note + "\n";
  return without_new_uuid(plan, text);
}

ordered_json plan_json(const Plan& plan) {
  auto steps = ordered_json::array();
  for (const auto& step : plan.steps) {
    auto shown = fields(step);
    for (auto& [key, value] : shown) value = without_new_uuid(plan, value);
    steps.push_back({{"kind", kind(step)}, {"fields", shown}, {"description", without_new_uuid(plan, describe(step))}});
  }
  auto devices = ordered_json::array();
  for (const auto& device : plan.devices) devices.push_back(without_new_uuid(plan, device.device));
  return {{"surface", hypervisors::name(plan.attachment.surface)},
          {"device", without_new_uuid(plan, device_of(plan.attachment))},
          {"steps", steps},
          {"leases", devices}};
}

ordered_json candidates_json(const Resolution& resolution) {
  auto array = ordered_json::array();
  for (const auto& candidate : resolution.candidates) {
    ordered_json entry{{"verdict", verdict_of(resolution, candidate)},
                       {"surface", candidate.surface ? ordered_json(surface_of(candidate)) : ordered_json()},
                       {"device", candidate.device},
                       {"slice", candidate.slice},
                       {"isolation", name(candidate.isolation)}};
    if (candidate.accepted()) {
      entry["plan"] = plan_json(candidate.plan);
      if (!candidate.note.empty()) entry["note"] = candidate.note;
    } else {
      entry["reason"] = {{"code", candidate.code}, {"fact", candidate.fact}, {"remedy", candidate.remedy}};
    }
    array.push_back(std::move(entry));
  }
  return array;
}

// A process as it is told from another one that has its number later.
std::string process_text(const std::optional<vfio::ProcessIdentity>& process) {
  if (!process) return "";
  return "pid " + std::to_string(process->pid) + ", start time " + std::to_string(process->start_time);
}

// What was done to what the lease gave away before anybody else may have it. A vGPU is no function: its manager makes
// it anew for each lease that a step makes it for.
struct Cleaning {
  std::string device;
  std::string demand;
  std::string state;
  std::string code;
  std::string outcome;
};

std::vector<Cleaning> cleanings_of(const Lease& lease) {
  using hypervisors::Surface;
  std::vector<Cleaning> cleanings;
  for (const auto& reset : lease.resets) {
    cleanings.push_back({reset.function.to_string(), std::string(name(reset.demand)), std::string(name(reset.state)),
                         reset.code, reset.outcome});
  }
  if (lease.attachment.surface != Surface::kMdev && lease.attachment.surface != Surface::kVendorVf) return cleanings;
  for (const auto& step : lease.steps) {
    const bool makes_it =
        std::holds_alternative<vfio::CreateMdev>(step.step) || std::holds_alternative<vfio::AssignVgpuType>(step.step);
    if (!makes_it || step.already_so) continue;
    const bool undone = step.state == StepState::kUndone;
    // One that ended without that ended by a reboot, or was never made.
    const bool ended = undone || lease.state == LeaseState::kReleased;
    cleanings.push_back({device_of(lease.attachment), "recreate", ended ? "done" : "planned", "",
                         undone                                       ? "recreated"
                         : ended && step.state != StepState::kPlanned ? "reboot"
                                                                      : ""});
  }
  if (cleanings.empty()) {
    cleanings.push_back(
        {device_of(lease.attachment), "none", "done", "", "none: the vGPU was there before the lease, and stays"});
  }
  return cleanings;
}

ordered_json resets_json(const Lease& lease) {
  auto array = ordered_json::array();
  for (const auto& cleaning : cleanings_of(lease)) {
    array.push_back({{"device", cleaning.device},
                     {"demand", cleaning.demand},
                     {"state", cleaning.state},
                     {"code", cleaning.code},
                     {"outcome", cleaning.outcome}});
  }
  return array;
}

std::string resets_text(const Lease& lease) {
  std::string text;
  for (const auto& cleaning : cleanings_of(lease)) {
    if (cleaning.outcome.empty()) continue;
    text += "  reset: " + cleaning.device + ": " + (cleaning.code.empty() ? "" : cleaning.code + ": ") +
            cleaning.outcome + "\n";
  }
  return text;
}

// What a release says beside having been done: the next tenant will not get these.
std::string quarantines_text(const Lease& lease) {
  std::string text;
  for (const auto& reset : lease.resets) {
    if (reset.state != ResetState::kFailed) continue;
    text += "warning: " + reset.function.to_string() + " is quarantined (" + reset.code +
            "); see: slicebroker quarantine list\n";
  }
  return text;
}

ordered_json lease_json(const Lease& lease) {
  auto steps = ordered_json::array();
  for (const auto& step : lease.steps) {
    steps.push_back({{"kind", kind(step.step)},
                     {"fields", fields(step.step)},
                     {"before", step.before},
                     {"already_so", step.already_so},
                     {"state", name(step.state)}});
  }
  auto devices = ordered_json::array();
  for (const auto& device : lease.devices) devices.push_back(device.device);
  auto late = ordered_json::array();
  for (const auto& write : lease.late_writes) {
    late.push_back({{"pid", write.process.pid}, {"start_time", write.process.start_time}, {"what", write.what}});
  }
  return {{"generation", lease.generation},
          {"state", name(lease.state)},
          {"owner", lease.owner()},
          {"vm_uuid", lease.vm_uuid ? lease.vm_uuid->to_string() : ""},
          {"hypervisor", hypervisors::name(lease.vm.kind)},
          {"vmm", process_text(lease.vmm)},
          {"tenant", lease.tenant},
          {"selector", lease.selector},
          {"slice", lease.slice},
          {"surface", hypervisors::name(lease.attachment.surface)},
          {"device", device_of(lease.attachment)},
          {"guest_address", lease.guest_address},
          {"created_at", lease.created_at},
          {"ended_at", lease.ended_at},
          {"note", lease.note},
          {"boot_id", lease.boot_id},
          {"leases", devices},
          {"late_writes", late},
          {"resets", resets_json(lease)},
          {"steps", steps}};
}

std::string late_text(const Lease& lease) {
  std::string text;
  for (const auto& write : lease.late_writes) {
    text += "lease " + std::to_string(lease.generation) + ": process " + std::to_string(write.process.pid) +
            " was left waiting in the kernel: " + write.what + "\n";
  }
  return text;
}

std::string leases_json(const std::vector<Lease>& leases) {
  auto array = ordered_json::array();
  for (const auto& lease : leases) array.push_back(lease_json(lease));
  return document({{"leases", array}});
}

std::string releases_json(const std::vector<Release>& releases) {
  auto array = ordered_json::array();
  for (const auto& release : releases) {
    array.push_back(lease_json(release.lease));
    array.back()["had_ended"] = release.had_ended;
    auto quarantined = ordered_json::array();
    for (const auto& reset : release.lease.resets) {
      if (reset.state == ResetState::kFailed) quarantined.push_back(device_key(reset.function));
    }
    array.back()["quarantined"] = std::move(quarantined);
  }
  return document({{"leases", array}});
}

}  // namespace

std::string render_resolution(const std::string& selector, const Target& target, const Resolution& resolution,
                              Format format) {
  if (format == Format::kJson) {
    return document({{"selector", selector},
                     {"hypervisor", hypervisors::name(target.hypervisor)},
                     {"version", target.version ? target.version->to_string() : ""},
                     {"granted", resolution.granted() != nullptr},
                     {"candidates", candidates_json(resolution)}});
  }
  Rows rows{{"VERDICT", "SURFACE", "DEVICE", "ISOLATION", "CODE", "WHY"}};
  for (const auto& candidate : resolution.candidates) {
    rows.push_back({std::string(verdict_of(resolution, candidate)), std::string(surface_of(candidate)),
                    candidate.device, std::string(name(candidate.isolation)),
                    candidate.accepted() ? "-" : candidate.code,
                    candidate.accepted() ? candidate.slice : candidate.fact});
  }
  std::string text = selector + " for " + target_text(target) + "\n" + table(folded(rows, 2), "  ");
  if (const auto* granted = resolution.granted()) {
    text += "plan:\n" + plan_text(*granted);
  } else {
    text += "hint: " + refusal(resolution).hint + "\n";
  }
  return text;
}

std::string render_plans(const std::vector<PlannedLease>& plans, Format format) {
  if (format == Format::kJson) {
    auto array = ordered_json::array();
    for (const auto& planned : plans) {
      array.push_back(plan_json(planned.plan));
      if (const auto& note = planned.resolution.granted()->note; !note.empty()) array.back()["note"] = note;
    }
    return document({{"dry_run", true}, {"plans", array}});
  }
  std::string text;
  for (const auto& planned : plans) {
    text += "would lease " + planned.resolution.granted()->slice + ", surface " +
            std::string(hypervisors::name(planned.plan.attachment.surface)) + ":\n" +
            plan_text(*planned.resolution.granted());
  }
  return text + "dry run: nothing was changed\n";
}

std::string render_attached(const std::vector<Lease>& leases, Format format) {
  if (format == Format::kJson) return leases_json(leases);
  std::string text;
  for (const auto& lease : leases) {
    text += "attached " + lease.selector + " to " + lease.owner() + ": " +
            std::string(hypervisors::name(lease.attachment.surface)) + " " + device_of(lease.attachment);
    if (!lease.guest_address.empty()) text += ", in the guest at " + lease.guest_address;
    text += " (lease " + std::to_string(lease.generation) + ")\n";
  }
  return text;
}

std::string render_detached(const std::vector<Release>& releases, DryRun dry_run, Format format) {
  if (format == Format::kJson) return releases_json(releases);
  std::string text;
  std::string warnings;
  bool restored = false;
  for (const auto& [lease, had_ended] : releases) {
    if (had_ended) {
      text += "lease " + std::to_string(lease.generation) + " ended at " + lease.ended_at + ": nothing to do\n";
      continue;
    }
    restored = true;
    text += (dry_run == DryRun::kYes ? "would detach " : "detached ") + lease.selector + " from " + lease.owner() +
            " (lease " + std::to_string(lease.generation) + ")\n";
    if (dry_run == DryRun::kNo) text += resets_text(lease);
    for (auto step = lease.steps.rbegin(); step != lease.steps.rend(); ++step) {
      if (!step->already_so) text += "  undo: " + describe(step->step) + "\n";
    }
    warnings += quarantines_text(lease);
  }
  if (dry_run == DryRun::kYes) return text + "dry run: nothing was changed\n";
  return text + warnings + (restored ? "host: restored\n" : "host: untouched\n");
}

std::string render_leases(const std::vector<Lease>& leases, Format format) {
  if (format == Format::kJson) return leases_json(leases);
  Rows rows{{"LEASE", "STATE", "OWNER", "TENANT", "SELECTOR", "SURFACE", "DEVICE", "IN GUEST", "SINCE"}};
  for (const auto& lease : leases) {
    rows.push_back({std::to_string(lease.generation), std::string(name(lease.state)), lease.owner(),
                    lease.tenant.empty() ? "-" : lease.tenant, lease.selector,
                    std::string(hypervisors::name(lease.attachment.surface)), device_of(lease.attachment),
                    lease.guest_address.empty() ? "-" : lease.guest_address, lease.created_at});
  }
  std::string text = table(rows);
  for (const auto& lease : leases) text += late_text(lease);
  return text;
}

std::string render_lease(const Lease& lease, Format format) {
  if (format == Format::kJson) return document({{"lease", lease_json(lease)}});
  ordered_json entry = lease_json(lease);
  entry.erase("steps");
  entry.erase("late_writes");
  entry.erase("resets");
  std::string devices;
  for (const auto& device : lease.devices) devices += (devices.empty() ? "" : ", ") + device.device;
  entry["leases"] = devices;
  std::string text = render_entry("lease", entry, format) + "steps:\n";
  for (const auto& step : lease.steps) {
    text +=
        "  " + describe(step.step) + ": " + (step.already_so ? "was so before" : std::string(name(step.state))) + "\n";
  }
  return text + resets_text(lease) + late_text(lease);
}

std::string render_verbatim(const char* member, const std::string& text, Format format) {
  return format == Format::kJson ? document({{member, text}}) : text;
}

std::string render_findings(const std::vector<Finding>& findings, Format format) {
  if (format == Format::kJson) {
    auto array = ordered_json::array();
    for (const auto& finding : findings) {
      ordered_json entry{{"lease", finding.generation}, {"owner", finding.owner}, {"device", finding.device},
                         {"code", finding.code},        {"drift", finding.drift}, {"action", finding.action},
                         {"resolved", finding.resolved}};
      if (finding.error) entry["error"] = ordered_json::parse(error_json(*finding.error))["error"];
      array.push_back(std::move(entry));
    }
    return document({{"findings", array}});
  }
  if (findings.empty()) return "ledger, host and hypervisors agree\n";
  Rows rows{{"LEASE", "OWNER", "DEVICE", "CODE", "DRIFT", "REMEDY", "DONE"}};
  std::string errors;
  for (const auto& finding : findings) {
    rows.push_back({std::to_string(finding.generation), finding.owner, finding.device, finding.code, finding.drift,
                    finding.action, finding.resolved ? "yes" : "no"});
    if (finding.error) errors += "lease " + std::to_string(finding.generation) + ": " + error_text(*finding.error);
  }
  return table(rows) + errors;
}

}  // namespace slicebroker::broker
