// SPDX-License-Identifier: Apache-2.0
// The ledger's other contents: quarantines, the audit trail, its care.
#include "broker/render/json.h"
#include "broker/render/render.h"
#include "broker/render/table.h"

namespace slicebroker::broker {
namespace {

using nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

std::string or_dash(const std::string& text) {
  return text.empty() ? "-" : text;
}

}  // namespace

std::string render_quarantines(const std::vector<Quarantine>& quarantines, Format format) {
  Rows rows{{"DEVICE", "GPU", "CODE", "SINCE", "BY", "WHY"}};
  auto array = ordered_json::array();
  for (const auto& entry : quarantines) {
    const std::string gpu = entry.device.gpu == PciAddress{} ? "" : entry.device.gpu.to_string();
    rows.push_back({entry.device.device, or_dash(gpu), entry.code, entry.since, entry.by, or_dash(entry.detail)});
    array.push_back({{"device", entry.device.device},
                     {"gpu", gpu},
                     {"code", entry.code},
                     {"since", entry.since},
                     {"by", entry.by},
                     {"lease", entry.generation},
                     {"detail", entry.detail}});
  }
  return format == Format::kJson ? document({{"quarantines", array}}) : table(rows);
}

std::string render_quarantined(const LeasedDevice& device, bool changed, Format format) {
  if (format == Format::kJson) return document({{"quarantined", device.device}, {"changed", changed}});
  return changed ? "quarantined " + device.device + "\n" : device.device + " is quarantined already: nothing to do\n";
}

std::string render_cleared(const LeasedDevice& device, Format format) {
  if (format == Format::kJson) return document({{"cleared", device.device}});
  return "cleared " + device.device + ": it may be leased again\n";
}

std::string render_audit(const std::vector<AuditRecord>& records, Format format) {
  Rows rows{{"SEQ", "TIME", "UID", "PID", "LEASE", "OWNER", "TENANT", "EVENT", "DEVICE", "DETAIL"}};
  auto array = ordered_json::array();
  for (const auto& record : records) {
    const std::string lease = record.generation == 0 ? "" : std::to_string(record.generation);
    rows.push_back({std::to_string(record.seq), record.time, std::to_string(record.uid), std::to_string(record.pid),
                    or_dash(lease), or_dash(record.owner), or_dash(record.tenant), record.event, or_dash(record.device),
                    or_dash(record.detail)});
    array.push_back({{"seq", record.seq},
                     {"time", record.time},
                     {"boot_id", record.boot_id},
                     {"uid", record.uid},
                     {"pid", record.pid},
                     {"lease", record.generation},
                     {"owner", record.owner},
                     {"tenant", record.tenant},
                     {"device", record.device},
                     {"event", record.event},
                     {"detail", record.detail},
                     {"hash", record.hash}});
  }
  return format == Format::kJson ? document({{"records", array}}) : table(rows);
}

std::string render_verdict(const AuditVerdict& verdict, Format format) {
  if (format == Format::kJson) {
    ordered_json entry{{"first", verdict.first}, {"last", verdict.last}, {"head", verdict.head}};
    if (verdict.noted_head) entry["noted_head_is_record"] = *verdict.noted_head;
    return document({{"audit", entry}});
  }
  if (verdict.first == 0) return "the audit trail is empty\n";
  std::string text = "records " + std::to_string(verdict.first) + " to " + std::to_string(verdict.last) +
                     " are as they were written\nhead " + verdict.head + "\n";
  if (verdict.noted_head) {
    text += "the hash given is record " + std::to_string(*verdict.noted_head) +
            "'s: " + std::to_string(verdict.last - *verdict.noted_head) + " were added since\n";
  }
  return text;
}

std::string render_backup(const std::string& file, Format format) {
  if (format == Format::kJson) return document({{"backup", file}});
  return "the ledger was copied to " + file + "\n";
}

std::string render_sound(bool exists, Format format) {
  if (format == Format::kJson) return document({{"ledger", exists ? "sound" : "none"}});
  return exists ? "the ledger is sound\n" : "there is no ledger yet\n";
}

}  // namespace slicebroker::broker
