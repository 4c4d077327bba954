// SPDX-License-Identifier: Apache-2.0
// What holds of every answer of the resolver, granted or refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "hypervisors/compatibility.h"
#include "tests/properties/answer.h"
#include "vfio/nvidia/profile_name.h"

namespace slicebroker::properties {
namespace {

using broker::Candidate;
using broker::Fallback;
using broker::ReasonClass;
using broker::Resolution;
using hypervisors::Surface;

bool asks_for_a_gpu(const World& world) {
  return std::holds_alternative<broker::GpuSelector>(world.request().selector);
}

bool is_stand_in(const World& world, const Candidate& candidate) {
  return candidate.surface == Surface::kGpu && !asks_for_a_gpu(world);
}

// A whole GPU stands in only for slices of its own that nobody has and that can't be handed over.
RC_GTEST_PROP(Answer, FallsBackOnlyForWhatCantBeSurfaced, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  const auto resolution = resolve(world);
  if (!resolution) return;
  const auto& candidates = resolution->candidates;
  const bool memory = std::holds_alternative<broker::MemorySelector>(world.request().selector);
  for (const auto& whole : candidates) {
    if (!is_stand_in(world, whole)) continue;
    RC_TAG("stand-in");
    RC_LOG(to_text(resolution));
    RC_ASSERT(world.request().fallback == Fallback::kGpu);
    RC_ASSERT((!whole.accepted() || world.policy.most_fallback == Fallback::kGpu));
    bool slice_accepted = false, slice_held = false, slice_of_it = false;
    for (const auto& slice : candidates) {
      if (is_stand_in(world, slice)) continue;
      slice_accepted = slice_accepted || slice.accepted();
      slice_held = slice_held || (!slice.accepted() && slice.reason->reason_class == ReasonClass::kHeld);
      slice_of_it = slice_of_it || world.host.gpu_of(*PciAddress::parse(slice.device)).to_string() == whole.device;
    }
    RC_ASSERT((!slice_held || slice_accepted));
    if (memory) continue;
    RC_ASSERT(!slice_accepted);
    RC_ASSERT(slice_of_it);
    for (const auto& slice : candidates) {
      if (is_stand_in(world, slice)) continue;
      if (world.host.gpu_of(*PciAddress::parse(slice.device)).to_string() != whole.device) continue;
      RC_ASSERT((slice.reason->reason_class == ReasonClass::kNotSurfaced || slice.code == "NOT_THE_AGREED_DEVICE"));
    }
  }
}

bool is_known(const Candidate& candidate) {
  const auto all = broker::all_reasons();
  if (std::find(all.begin(), all.end(), candidate.reason) == all.end()) return false;
  if (candidate.reason != &broker::reasons::kHypervisorUnsupported) return candidate.code == candidate.reason->code;
  const auto rows = hypervisors::compatibility_table();
  return std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row.reason == candidate.code; });
}

RC_GTEST_PROP(Answer, GivesEveryCandidateOneVerdict, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  const auto resolution = resolve(world);
  if (!resolution) return;
  RC_LOG(to_text(resolution));
  RC_ASSERT(!resolution->candidates.empty());
  std::set<std::tuple<std::string, std::optional<Surface>, std::string>> seen;
  for (const auto& candidate : resolution->candidates) {
    RC_ASSERT(seen.emplace(candidate.slice, candidate.surface, candidate.device).second);
    const bool planned = candidate.plan.attachment.mdev || candidate.plan.attachment.function;
    RC_ASSERT(candidate.accepted() == planned);
    RC_ASSERT(candidate.accepted() == !candidate.plan.devices.empty());
    if (candidate.accepted()) {
      RC_ASSERT((candidate.code.empty() && candidate.surface.has_value()));
      continue;
    }
    RC_ASSERT(is_known(candidate));
    RC_ASSERT((!candidate.fact.empty() && !candidate.remedy.empty()));
    RC_ASSERT(candidate.plan.steps.empty());
  }
}

// Accepted ones, held ones, those not surfaced, refused ones; whole GPUs that stand in come behind.
RC_GTEST_PROP(Answer, PutsTheBestFirst, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  const auto resolution = resolve(world);
  if (!resolution) return;
  RC_LOG(to_text(resolution));
  int before = 0;
  for (const auto& candidate : resolution->candidates) {
    int rank = candidate.accepted()                                          ? 0
               : candidate.reason->reason_class == ReasonClass::kHeld        ? 1
               : candidate.reason->reason_class == ReasonClass::kNotSurfaced ? 2
                                                                             : 3;
    if (is_stand_in(world, candidate)) rank = 4;
    RC_ASSERT(rank >= before);
    before = rank;
  }
}

RC_GTEST_PROP(Answer, AnswersTheSameAgain, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  RC_ASSERT(to_text(resolve(world)) == to_text(resolve(make_world(draft))));
}

// Verdicts and plans; facts name things in the order in which they were found.
std::string verdicts(const Result<Resolution>& resolution) {
  if (!resolution) return std::string(name(resolution.error().code));
  std::string text;
  for (auto candidate : resolution->candidates) {
    candidate.fact.clear();
    text += to_text(candidate);
  }
  return text;
}

template <class T>
void shuffle(std::vector<T>& values) {
  std::vector<T> shuffled;
  while (!values.empty()) {
    const auto at = *rc::gen::inRange<std::size_t>(0, values.size());
    shuffled.push_back(std::move(values[at]));
    values.erase(values.begin() + static_cast<std::ptrdiff_t>(at));
  }
  values = std::move(shuffled);
}

// What the inventory does not document as sorted, and the ledger's rows.
RC_GTEST_PROP(Answer, DoesNotCareForOrder, (const WorldDraft& draft)) {
  auto world = make_world(draft);
  for (auto& hold : world.holds) hold.kind = broker::HoldKind::kLease;  // of two other holds the first is told
  const auto before = verdicts(resolve(world));
  shuffle(world.holds);
  shuffle(world.host.holders);
  for (auto& vf : world.host.vendor_vfs) shuffle(vf.creatable);
  if (world.host.nvidia) {
    for (auto& gpu : world.host.nvidia->gpus) {
      shuffle(gpu.profiles);
      shuffle(gpu.vgpu_types);
      shuffle(gpu.active_vgpus);
    }
  }
  RC_ASSERT(verdicts(resolve(world)) == before);
}

bool has_profile(const World& world, const std::string& name) {
  if (!world.host.nvidia) return false;
  for (const auto& gpu : world.host.nvidia->gpus) {
    for (const auto& profile : gpu.profiles) {
      if (profile_name(gpu, profile) == name) return true;
    }
  }
  return false;
}

// Whether a host has what its selectors name; every list of these ends with what no host has.
bool exists(const World& world, const broker::Selector& selector) {
  if (const auto* profile = std::get_if<broker::ProfileSelector>(&selector)) {
    const auto whole = gpu_instance_profile_of(*profile);
    return has_profile(world, whole.empty() ? profile->name : whole);
  }
  const auto text = to_string(selector);
  const auto known = selectors(world.host, static_cast<unsigned>(selector.index()));
  const auto is_it = [&](const std::string& name) { return to_string(broker::parse_selector(name).value()) == text; };
  return std::any_of(known.begin(), known.end() - 1, is_it);
}

RC_GTEST_PROP(Answer, FindsWhatExistsAndNothingElse, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  const auto& selector = world.request().selector;
  RC_PRE(!std::holds_alternative<broker::MemorySelector>(selector));
  const auto resolution = resolve(world);
  RC_LOG(to_text(resolution));
  if (resolution) {
    const bool by_name = std::holds_alternative<broker::ProfileSelector>(selector) && !world.host.nvidia;
    RC_ASSERT((by_name || exists(world, selector)));
  } else if (resolution.error().code == ErrorCode::kNotFound) {
    RC_ASSERT(!exists(world, selector));
  } else {
    RC_ASSERT(!world.host.nvidia.has_value());
  }
}

RC_GTEST_PROP(Answer, RefusesAsHeldWhereSomethingIsHeld, (const WorldDraft& draft)) {
  const auto world = make_world(draft);
  const auto resolution = resolve(world);
  if (!resolution || resolution->granted() != nullptr) return;
  RC_LOG(to_text(resolution));
  const auto& candidates = resolution->candidates;
  const bool held = std::any_of(candidates.begin(), candidates.end(),
                                [](const auto& c) { return c.reason->reason_class == ReasonClass::kHeld; });
  const auto error = refusal(*resolution);
  RC_ASSERT(error.code == (held ? ErrorCode::kHeld : ErrorCode::kRefused));
  RC_ASSERT(error.causes.size() == candidates.size());
  RC_ASSERT(!error.hint.empty());
}

}  // namespace
}  // namespace slicebroker::properties
