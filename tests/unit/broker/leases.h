// SPDX-License-Identifier: Apache-2.0
// Leases for tests that start with one already in the ledger.
#pragma once

#include <gtest/gtest.h>

#include "broker/ledger/ledger.h"
#include "tests/unit/broker/inventories.h"
#include "tests/unit/check.h"

namespace slicebroker::broker {

inline void PrintTo(LeaseState state, std::ostream* out) {
  *out << name(state);
}
inline void PrintTo(StepState state, std::ostream* out) {
  *out << name(state);
}
inline void PrintTo(const LeasedDevice& device, std::ostream* out) {
  *out << device.device;
}

}  // namespace slicebroker::broker

namespace slicebroker::test {

// A lease of the mediated device kMdev by libvirt:web1, which no step has made.
inline broker::Lease mdev_lease(const std::string& owner = "web1") {
  broker::Lease lease;
  lease.vm = {hypervisors::HypervisorKind::kLibvirt, owner};
  lease.selector = "mdev=" + kMdev;
  lease.slice = "the mediated device of type nvidia-699";
  lease.boot_id = "11111111-2222-4333-8444-555555555555";  // FixtureHost's
  lease.broker = {999'999, 42};                            // a process that is no more
  lease.attachment.surface = hypervisors::Surface::kMdev;
  lease.attachment.mdev = Uuid::parse(kMdev);
  lease.devices = {{"mdev:" + kMdev, kGpu}};
  return lease;
}

// Begins a lease on what the ledger holds now.
inline broker::Lease begin(broker::Ledger& ledger, broker::Lease lease) {
  return ledger.begin(std::move(lease), ledger.read().value().revision).value();
}

// The same lease, further on its way.
inline broker::Lease begin_in(broker::Ledger& ledger, broker::Lease lease, broker::LeaseState state) {
  using broker::LeaseState;
  lease = begin(ledger, std::move(lease));
  const auto generation = lease.generation;
  if (state != LeaseState::kPreparing && state != LeaseState::kReleased) {
    EXPECT_TRUE(ok(ledger.move(generation, LeaseState::kPreparing, LeaseState::kPrepared)));
  }
  if (state == LeaseState::kAttached) {
    EXPECT_TRUE(ok(ledger.set_attached(generation, "", lease.vmm)));
  }
  if (state == LeaseState::kReleasing) {
    EXPECT_TRUE(ok(ledger.move(generation, LeaseState::kPrepared, LeaseState::kReleasing)));
  }
  lease.state = state;
  return lease;
}

}  // namespace slicebroker::test
