// SPDX-License-Identifier: Apache-2.0
// The resolver's decisions as a table: a host, who holds what, what is asked for, and every candidate's verdict.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/unit/broker/inventories.h"

namespace slicebroker::test {

struct ResolverCase {
  std::string name;
  vfio::Inventory host;
  std::vector<broker::Hold> holds;
  broker::Request request;
  std::vector<std::string> verdicts;  // as verdicts() writes them
  broker::Policy policy{};
};

// A GPU that wants nvgrace_gpu_vfio_pci, which is loaded.
vfio::Inventory grace_hopper();

inline void PrintTo(const ResolverCase& c, std::ostream* out) {
  *out << c.name;
}

std::vector<ResolverCase> slice_cases();
std::vector<ResolverCase> fallback_cases();
std::vector<ResolverCase> group_cases();
std::vector<ResolverCase> existing_cases();
std::vector<ResolverCase> variant_cases();
std::vector<ResolverCase> by_name_cases();
std::vector<ResolverCase> capacity_cases();
std::vector<ResolverCase> memory_cases();
std::vector<ResolverCase> policy_cases();
std::vector<ResolverCase> foreign_cases();
std::vector<ResolverCase> resolver_cases();  // all of them

}  // namespace slicebroker::test
