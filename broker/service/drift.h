// SPDX-License-Identifier: Apache-2.0
// What may be wrong with a lease beside its host and its VM, and what becomes of it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/ledger/lease.h"
#include "broker/service/broker.h"
#include "vfio/claims/claim.h"
#include "vfio/host/holders.h"

namespace slicebroker::broker {

enum class Remedy {
  kEnd,       // nothing of it is left on the host
  kGiveBack,  // undo its steps and end it
  kAttached,  // the guest has the device: record that
  kReport,    // only a person can tell
};

struct Drift {
  std::string_view code;
  std::string_view meaning;
  Remedy remedy = Remedy::kReport;
  std::string_view action;  // what the remedy does, or what the person may do
};

namespace drifts {
extern const Drift kRebooted;  // a lease of an earlier boot is void, whatever is there now
}

// Every drift, for documents and tests.
std::span<const Drift* const> all_drifts();

// What a lease's device may have to do with others. Gathered once for all leases.
struct Surroundings {
  std::vector<vfio::Claim> domains;  // what libvirt's domains name
  std::vector<vfio::Holder> holders;
};

struct Judgement {
  const Drift* drift = nullptr;  // nullptr: nothing is wrong
  std::string detail;            // what was seen, where the meaning does not say it all
};

// A lease of this boot, which no live broker works on. Looks at its host and asks its VM; changes nothing. Errors: what
// keeps from judging, such as a hypervisor's silence.
Result<Judgement> judge(const Lease& lease, const Environment& environment, const Surroundings& surroundings);

// Reads only. Errors: /proc can't be read.
Result<Surroundings> look_around(const Environment& environment);

}  // namespace slicebroker::broker
