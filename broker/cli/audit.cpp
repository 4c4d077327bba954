// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"
#include "vfio/base/text.h"

namespace slicebroker::broker::cli {
namespace {

struct Arguments {
  std::int64_t lease = 0;
  std::string device;
  std::string since;
  std::int64_t limit = 0;
  std::string head;
};

Error usage(std::string option, std::string text, std::string hint) {
  Error error;
  error.code = ErrorCode::kUsage;
  error.tried = "understand " + std::move(option);
  error.subject = std::move(text);
  error.hint = std::move(hint);
  return error;
}

// "2026-11-20", "2026-11-20T12:53" ... : the beginning of a record's time, which is as long as it likes.
bool begins_a_time(const std::string& text) {
  constexpr std::string_view kPattern = "dddd-dd-ddTdd:dd:dd.dddZ";
  if (text.size() > kPattern.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kPattern[i] == 'd' ? !digit : text[i] != kPattern[i]) return false;
  }
  return text.size() >= 4;
}

Result<AuditFilter> filter_of(const Broker& broker, const Arguments& arguments) {
  AuditFilter filter;
  if (arguments.lease > 0) filter.generation = arguments.lease;
  filter.newest = arguments.limit;
  // "…:53Z" means the same second, whose records have milliseconds in that place.
  filter.since = arguments.since;
  if (filter.since.size() == 20 && filter.since.back() == 'Z') filter.since.pop_back();
  if (!filter.since.empty() && !begins_a_time(filter.since)) {
    return fail(
        usage("--since", arguments.since, "a time is in UTC and looks like 2026-11-20T12:53:00Z or 2026-11-20"));
  }
  if (arguments.device.empty()) return filter;
  // A device that has gone is in the trail all the same.
  auto device = Broker::name_device(arguments.device);
  if (!device) device = broker.find_device(arguments.device);
  if (!device) return fail(std::move(device).error());
  filter.device = device->device;
  return filter;
}

Result<Output> show(const Session& session, const Arguments& arguments) {
  SLICEBROKER_TRY(const auto broker, session.broker_without_policy());
  SLICEBROKER_TRY(const auto filter, filter_of(broker, arguments));
  SLICEBROKER_TRY(const auto ledger, broker.open_ledger_for_reading());
  SLICEBROKER_TRY(const auto records, ledger.audit(filter));
  return Output{render_audit(records, session.format())};
}

Error broken(std::string subject, std::string fact) {
  Error error;
  error.reason = "AUDIT_BROKEN";
  error.tried = "verify the audit trail";
  error.subject = std::move(subject);
  error.fact = std::move(fact);
  error.hint = "keep a copy (slicebroker ledger backup FILE) and find out who wrote to the ledger; see slicebroker(8)";
  error.host = HostOutcome::kUntouched;
  return error;
}

Result<Output> verify(const Session& session, const Arguments& arguments) {
  const std::string noted = lower(arguments.head);
  if (!noted.empty() && (noted.size() != 64 || noted.find_first_not_of("0123456789abcdef") != std::string::npos)) {
    return fail(usage("--head", arguments.head, "a head is the 64 digits that `audit verify` prints"));
  }
  SLICEBROKER_TRY(const auto broker, session.broker_without_policy());
  SLICEBROKER_TRY(const auto ledger, broker.open_ledger_for_reading());
  SLICEBROKER_TRY(const auto verdict, ledger.verify_audit(noted));
  if (verdict.faulty) return fail(broken("record " + std::to_string(*verdict.faulty), verdict.fault));
  if (!noted.empty() && !verdict.noted_head) {
    return fail(broken("head " + noted,
                       "no record has this hash: the trail was written anew, lost its end, or has "
                       "forgotten the record by age"));
  }
  return Output{render_verdict(verdict, session.format())};
}

}  // namespace

void add_audit(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("audit", "What slicebroker did, in a trail that shows when it was tampered with");
  command->require_subcommand(1);
  const auto arguments = std::make_shared<Arguments>();

  auto* showing = command->add_subcommand("show", "The records, oldest first");
  showing->add_option("--lease", arguments->lease, "of this lease only")->check(CLI::PositiveNumber)->type_name("N");
  showing->add_option("--device", arguments->device, "about this device only: PCI address or mdev UUID")
      ->type_name("DEVICE");
  showing->add_option("--since", arguments->since, "from this time on, UTC: 2026-11-20T12:53:00Z, 2026-11-20")
      ->type_name("TIME");
  showing->add_option("--limit", arguments->limit, "the newest N only")->check(CLI::PositiveNumber)->type_name("N");
  session.run(*showing, [&session, arguments] { return show(session, *arguments); });

  auto* verifying = command->add_subcommand("verify", "Whether the trail is as it was written; prints its head hash");
  verifying->add_option("--head", arguments->head, "a head hash noted elsewhere, which the trail must contain")
      ->type_name("HASH");
  session.run(*verifying, [&session, arguments] { return verify(session, *arguments); });
}

}  // namespace slicebroker::broker::cli
