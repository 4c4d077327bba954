// SPDX-License-Identifier: Apache-2.0
#include "broker/resolver/resolver.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "broker/request/nearest.h"
#include "broker/resolver/context.h"
#include "broker/resolver/foreign.h"
#include "hypervisors/compatibility.h"
#include "vfio/base/text.h"

namespace slicebroker::broker {
namespace {

using hypervisors::Surface;

std::vector<std::string> mig_devices_of(const vfio::nvidia::Driver& driver) {
  std::vector<std::string> uuids;
  for (const auto& gpu : driver.gpus) {
    for (const auto& instance : gpu.instances) {
      for (const auto& compute : instance.compute_instances) uuids.push_back(compute.mig_uuid);
    }
  }
  return uuids;
}

std::string known_mig_devices(std::vector<std::string> uuids) {
  if (uuids.empty()) return "no GPU of this host has a MIG device; make one: nvidia-smi mig -cgi PROFILE -C";
  constexpr std::size_t kMost = 4;
  const std::size_t more = uuids.size() > kMost ? uuids.size() - kMost : 0;
  uuids.resize(uuids.size() - more);
  return "this host has " + join(uuids, ", ") + (more > 0 ? " and " + std::to_string(more) + " more" : "");
}

// Only NVML knows MIG devices and GPU UUIDs; without it such a selector can't even be looked up.
Result<const vfio::nvidia::Driver*> nvidia_driver(const Context& context, std::string_view what) {
  if (context.inventory.nvidia) return &*context.inventory.nvidia;
  Error error = context.inventory.nvml_error
                    ? caused_by("look up " + std::string(what), to_string(context.request.selector),
                                *context.inventory.nvml_error)
                    : Error{};
  if (error.code != ErrorCode::kNoAnswer) error.code = ErrorCode::kRefused;
  error.fact = "only NVML can tell";
  return fail(std::move(error));
}

Result<std::vector<Candidate>> candidates_of(const Context& context, const MigSelector& selector) {
  SLICEBROKER_TRY(const auto* driver, nvidia_driver(context, "the MIG device"));
  const auto found = vfio::nvidia::find_instance(*driver, selector.uuid);
  if (!found) {
    const auto known = mig_devices_of(*driver);
    const std::string text = selector.uuid.to_string();
    return fail(names_nothing(text, "no GPU of this host has this MIG device",
                              hint_for(text, known, known_mig_devices(known))));
  }
  return resolve_gpu_instance(context, *found->gpu, *found->gpu_instance, selector.uuid.to_string());
}

Result<std::vector<Candidate>> candidates_of(const Context& context, const ProfileSelector& selector) {
  if (!context.inventory.nvidia) {
    auto candidates = resolve_profile_by_name(context, selector);
    if (!candidates.empty()) return candidates;
  }
  SLICEBROKER_TRY([[maybe_unused]] const auto* driver, nvidia_driver(context, "the MIG profile"));
  return resolve_profile(context, selector);
}

Result<std::vector<Candidate>> candidates_of(const Context& context, const TypeSelector& selector) {
  return resolve_type(context, selector);
}

Result<std::vector<Candidate>> candidates_of(const Context& context, const MemorySelector& selector) {
  auto candidates = resolve_memory(context, selector);
  // Nothing else tells how large a type is, so without NVML what is missing is NVML.
  if (!candidates && !context.inventory.nvidia) return fail(nvidia_driver(context, "the memory of types").error());
  return candidates;
}

Result<std::vector<Candidate>> candidates_of(const Context& context, const MdevSelector& selector) {
  SLICEBROKER_TRY(auto candidate, resolve_mdev(context, selector));
  return std::vector{std::move(candidate)};
}

Result<std::vector<Candidate>> candidates_of(const Context& context, const VfSelector& selector) {
  SLICEBROKER_TRY(auto candidate, resolve_vf(context, selector));
  return std::vector{std::move(candidate)};
}

Result<PciAddress> gpu_address(const Context& context, const GpuSelector& selector) {
  if (const auto* address = std::get_if<PciAddress>(&selector.gpu)) return *address;
  const auto& uuid = std::get<std::string>(selector.gpu);
  SLICEBROKER_TRY(const auto* driver, nvidia_driver(context, "the GPU's UUID"));
  std::vector<std::string> known;
  for (const auto& gpu : driver->gpus) {
    if (lower(gpu.uuid) == lower(uuid)) return gpu.address;
    known.push_back(gpu.uuid);
  }
  return fail(names_nothing(
      uuid, "the nvidia driver lists no such GPU",
      hint_for(uuid, known, "a GPU on vfio-pci has no UUID; name it by its address: slicebroker list gpus")));
}

Result<std::vector<Candidate>> candidates_of(const Context& context, const GpuSelector& selector) {
  SLICEBROKER_TRY(const auto address, gpu_address(context, selector));
  const auto* function = context.inventory.find_function(address);
  if (function == nullptr) {
    std::vector<std::string> known;
    for (const auto& other : context.inventory.functions) {
      if (is_gpu(other)) known.push_back(other.address.to_string());
    }
    return fail(names_nothing(address.to_string(), "no such PCI function",
                              hint_for(address.to_string(), known, "see: slicebroker list gpus")));
  }
  return std::vector{resolve_group(context, *function, Surface::kGpu)};
}

// A group is taken as a whole, so each GPU in it has to be managed.
std::optional<std::string> why_not_managed(const Context& context, const vfio::PciFunction& function, Surface surface) {
  auto why = why_not_managed(context.policy, context.inventory, function);
  if (why || (surface != Surface::kGpu && surface != Surface::kVf)) return why;
  for (const auto* companion : context.inventory.group_companions(function)) {
    const auto* gpu = context.inventory.find_function(context.inventory.gpu_of(companion->address));
    if (gpu == nullptr || !is_gpu(*gpu)) continue;
    why = why_not_managed(context.policy, context.inventory, *gpu);
    if (why) return "its IOMMU group holds " + companion->address.to_string() + " too: " + *why;
  }
  return std::nullopt;
}

bool is_slice(const Selector& selector) {
  return std::holds_alternative<MigSelector>(selector) || std::holds_alternative<ProfileSelector>(selector) ||
         std::holds_alternative<TypeSelector>(selector);
}

void best_first(std::vector<Candidate>& candidates) {
  const auto rank = [](const Candidate& candidate) {
    if (candidate.accepted()) return 0;
    switch (candidate.reason->reason_class) {
      case ReasonClass::kHeld:
      case ReasonClass::kSilent: return 1;
      case ReasonClass::kNotSurfaced: return 2;
      case ReasonClass::kRefused: return 3;
    }
    return 3;
  };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
}

// It may be free later, so nothing goes around it.
bool may_come(const Reason& reason) {
  return reason.reason_class == ReasonClass::kHeld || reason.reason_class == ReasonClass::kSilent;
}

ErrorCode code_of(const Reason& reason) {
  switch (reason.reason_class) {
    case ReasonClass::kHeld: return ErrorCode::kHeld;
    case ReasonClass::kSilent: return ErrorCode::kNoAnswer;
    case ReasonClass::kNotSurfaced:
    case ReasonClass::kRefused: break;
  }
  return ErrorCode::kRefused;
}

// What is not found may be on what has not answered.
Error unless_silent(const Context& context, Error error) {
  const auto& silences = context.inventory.silences;
  if (error.code != ErrorCode::kNotFound || silences.empty()) return error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = reasons::kDeviceSilent.code;
  error.fact += ", as far as it answers: " + silences.front().what + " does not";
  error.hint = reasons::kDeviceSilent.remedy;
  return error;
}

// A whole GPU that would be taken for a slice, as far as the policy lets it.
Candidate stand_in(const Context& context, Candidate whole) {
  if (context.policy.most_fallback != Fallback::kNone) return whole;
  return rejected(std::move(whole), reasons::kFallbackDenied, "limits.fallback in the policy is none");
}

// What no function could carry has not met check_permitted().
void check_managed(const Context& context, std::vector<Candidate>& candidates) {
  for (auto& candidate : candidates) {
    const auto address = candidate.surface ? std::nullopt : PciAddress::parse(candidate.device);
    const auto* gpu = address ? context.inventory.find_function(*address) : nullptr;
    if (gpu == nullptr) continue;
    auto why = why_not_managed(context.policy, context.inventory, *gpu);
    if (why) candidate = rejected(std::move(candidate), reasons::kNotManaged, *std::move(why));
  }
}

// The whole GPU stands in only for slices that exist and can't be surfaced: never around a holder or missing capacity,
// and not for a GPU that has no such slice.
void add_fallback(const Context& context, std::vector<Candidate>& candidates) {
  const auto& request = context.request;
  if (request.fallback != Fallback::kGpu || !is_slice(request.selector) || request.only_mdev) return;
  std::map<PciAddress, bool> unsurfaced;  // by GPU: whether each of its candidates is so
  for (const auto& candidate : candidates) {
    if (candidate.accepted() || may_come(*candidate.reason)) return;
    const auto address = PciAddress::parse(candidate.device);
    if (!address) continue;
    // Where the whole GPU was agreed before, no slice is the agreed device.
    const bool so = candidate.reason->reason_class == ReasonClass::kNotSurfaced ||
                    candidate.reason == &reasons::kNotTheAgreedDevice;
    const auto at = unsurfaced.try_emplace(context.inventory.gpu_of(*address), so).first;
    at->second = at->second && so;
  }
  for (const auto& [address, all] : unsurfaced) {
    const auto* gpu = context.inventory.find_function(address);
    if (all && gpu != nullptr) candidates.push_back(stand_in(context, resolve_group(context, *gpu, Surface::kGpu)));
  }
}

// memory= is also met by a whole GPU. As a fallback it is no way around those who hold a slice that fits, nor around a
// policy that denies its surface.
void add_whole_gpus(const Context& context, std::vector<Candidate>& candidates) {
  const auto* memory = std::get_if<MemorySelector>(&context.request.selector);
  if (memory == nullptr || context.request.fallback != Fallback::kGpu) return;
  if (context.request.only_mdev && !candidates.empty()) return;  // where there is nothing else, its reason is told
  const bool any_accepted =
      std::any_of(candidates.begin(), candidates.end(), [](const auto& c) { return c.accepted(); });
  const bool any_kept = std::any_of(candidates.begin(), candidates.end(), [](const auto& c) {
    return !c.accepted() && (may_come(*c.reason) || c.reason == &reasons::kSurfaceDenied);
  });
  if (any_kept && !any_accepted) return;
  for (auto& whole : whole_gpus_of(context, *memory)) candidates.push_back(stand_in(context, std::move(whole)));
}

void suggest_fallback(const Context& context, std::vector<Candidate>& candidates) {
  const auto& request = context.request;
  if (request.fallback != Fallback::kNone || !is_slice(request.selector)) return;
  if (context.policy.most_fallback == Fallback::kNone) return;
  for (auto& candidate : candidates) {
    if (candidate.accepted() || candidate.reason->reason_class != ReasonClass::kNotSurfaced) continue;
    candidate.remedy += "; or take the whole GPU for it: --fallback gpu";
  }
}

// What could not be read may be what was asked for: then nobody can say that it is not there.
Error unless_all_was_read(const vfio::Inventory& inventory, Error error) {
  if (error.code != ErrorCode::kNotFound || inventory.problems.empty()) return error;
  error.code = ErrorCode::kRefused;
  error.reason = "HOST_NOT_ALL_READ";
  error.fact += ", but a part of the host could not be read";
  error.causes = inventory.problems;
  return error;
}

// A candidate that no check rejected and that got no plan, or both, is our mistake: better none than one with an empty
// plan.
void check_verdicts(const std::vector<Candidate>& candidates) {
  for (const auto& candidate : candidates) {
    const auto& attachment = candidate.plan.attachment;
    const bool planned = attachment.mdev || attachment.function;
    if (candidate.accepted() != planned) std::abort();
  }
}

}  // namespace

const Hold* Context::hold_on(const std::string& device) const {
  const auto at = std::find_if(holds.begin(), holds.end(), [&](const Hold& h) { return h.leased.device == device; });
  return at == holds.end() ? nullptr : &*at;
}

const Hold* Context::fence_on(const std::vector<const vfio::PciFunction*>& functions) const {
  for (const auto* function : functions) {
    const auto* hold = hold_on(device_key(function->address));
    if (hold != nullptr && hold->kind != HoldKind::kLease) return hold;
  }
  return nullptr;
}

const Hold* Context::fence_on_part_of(const PciAddress& gpu) const {
  const auto at = std::find_if(holds.begin(), holds.end(),
                               [&](const Hold& h) { return h.kind != HoldKind::kLease && h.leased.gpu == gpu; });
  return at == holds.end() ? nullptr : &*at;
}

std::string device_key(const PciAddress& function) {
  return "pci:" + function.to_string();
}
std::string device_key(const Uuid& mdev) {
  return "mdev:" + mdev.to_string();
}
std::string gpu_instance_key(const PciAddress& gpu, std::uint32_t instance) {
  return "gpu-instance:" + gpu.to_string() + "/" + std::to_string(instance);
}

std::string any_instance_key(const PciAddress& gpu, std::uint32_t profile, std::size_t n) {
  return "any-instance:" + gpu.to_string() + "/" + std::to_string(profile) + "/" + std::to_string(n);
}

Error names_nothing(std::string subject, std::string fact, std::string hint) {
  Error error;
  error.code = ErrorCode::kNotFound;
  error.tried = "resolve";
  error.subject = std::move(subject);
  error.fact = std::move(fact);
  error.hint = std::move(hint);
  return error;
}

Candidate rejected(Candidate candidate, const Reason& reason, std::string fact, std::string remedy) {
  candidate.reason = &reason;
  candidate.code = reason.code;
  candidate.fact = std::move(fact);
  candidate.remedy = remedy.empty() ? std::string(reason.remedy) : std::move(remedy);
  candidate.plan = {};
  candidate.note.clear();
  return candidate;
}

Candidate leased(Candidate candidate, const Hold& hold) {
  const auto& device = hold.leased.device;
  const std::string detail = hold.detail.empty() ? "" : ": " + hold.detail;
  switch (hold.kind) {
    case HoldKind::kLease: break;
    case HoldKind::kQuarantine:
      return rejected(std::move(candidate), reasons::kQuarantined, device + " is quarantined" + detail,
                      "look at it, then: slicebroker quarantine clear " + device);
    case HoldKind::kForeign:
      return rejected(std::move(candidate), reasons::kForeignOwner, hold.owner + " owns " + device + detail,
                      hold.remedy);
  }
  if (hold.generation == kThisRequest) {
    return rejected(std::move(candidate), reasons::kLeased, "an earlier selector of this request takes it",
                    "name each device once, or ask for a profile or type");
  }
  return rejected(std::move(candidate), reasons::kLeased,
                  hold.owner + " holds it by lease " + std::to_string(hold.generation));
}

std::string holder_text(const std::vector<vfio::Holder>& holders) {
  std::vector<std::string> texts;
  for (const auto& holder : holders) {
    texts.push_back(describe(holder));
  }
  return join(texts, ", ");
}

std::optional<std::string> silence_text(const Context& context, const vfio::PciFunction& function, Surface surface) {
  using Extent = vfio::Inventory::Extent;
  const bool whole = surface == Surface::kGpu || surface == Surface::kVf;
  const auto* silence =
      context.inventory.find_silence(function, surface == Surface::kGpu ? Extent::kWithParts : Extent::kAlone);
  if (silence == nullptr && whole) {
    for (const auto* companion : context.inventory.group_companions(function)) {
      silence = context.inventory.find_silence(*companion, Extent::kWithParts);
      if (silence != nullptr) break;
    }
  }
  if (silence == nullptr) return std::nullopt;
  return silence->what + " does not answer";
}

bool check_permitted(const Context& context, const vfio::PciFunction& function, Candidate& candidate) {
  if (auto why = why_not_managed(context, function, *candidate.surface)) {
    candidate = rejected(std::move(candidate), reasons::kNotManaged, *std::move(why));
    return false;
  }
  const auto vendor = hypervisors::vendor_of(function.vendor, function.device);
  const auto& target = context.request.target;
  const auto& row = hypervisors::compatibility(target.hypervisor, target.version, *candidate.surface, vendor);
  if (!row.reason.empty()) {
    candidate = rejected(std::move(candidate), reasons::kHypervisorUnsupported, std::string(row.explanation));
    candidate.code = row.reason;
    return false;
  }
  if (const auto table = denied_by(context.policy, target.hypervisor, *candidate.surface)) {
    const std::string surface(hypervisors::name(*candidate.surface));
    candidate = rejected(std::move(candidate), reasons::kSurfaceDenied, *table + " in the policy denies " + surface);
    return false;
  }
  if (auto silence = silence_text(context, function, *candidate.surface)) {
    candidate = rejected(std::move(candidate), reasons::kDeviceSilent, *std::move(silence));
    return false;
  }
  return true;
}

const Candidate* Resolution::granted() const {
  const auto at = std::find_if(candidates.begin(), candidates.end(), [](const auto& c) { return c.accepted(); });
  return at == candidates.end() ? nullptr : &*at;
}

Result<Resolution> resolve(const vfio::Inventory& inventory, const std::vector<Hold>& holds, const Request& request,
                           const Policy& policy) {
  Request bounded = request;
  bounded.isolation = std::max(request.isolation, policy.least_isolation);
  auto all_holds = holds;
  for (auto& hold : foreign_holds(inventory, holds, request, policy)) all_holds.push_back(std::move(hold));
  const Context context{inventory, all_holds, bounded, policy};
  auto found = std::visit([&](const auto& selector) { return candidates_of(context, selector); }, request.selector);
  if (!found) return fail(unless_all_was_read(inventory, unless_silent(context, std::move(found).error())));
  auto candidates = *std::move(found);
  check_managed(context, candidates);
  best_first(candidates);
  add_fallback(context, candidates);
  add_whole_gpus(context, candidates);
  suggest_fallback(context, candidates);
  check_verdicts(candidates);
  return Resolution{std::move(candidates)};
}

Error refusal(const Resolution& resolution) {
  Error error;
  error.code = ErrorCode::kRefused;
  error.tried = "find a device";
  constexpr std::size_t kMostRemedies = 2;  // those of the candidates that were nearest
  std::set<std::string> remedies;
  for (const auto& candidate : resolution.candidates) {
    if (candidate.accepted()) continue;
    Error cause;
    cause.code = code_of(*candidate.reason);
    // A holder that is known says more than a silence, and either more than a refusal.
    if (error.code == ErrorCode::kRefused || cause.code == ErrorCode::kHeld) error.code = cause.code;
    cause.reason = candidate.code;
    cause.tried = candidate.surface ? hypervisors::name(*candidate.surface) : "-";
    cause.subject = candidate.device;
    cause.fact = candidate.fact;
    error.causes.push_back(std::move(cause));
    if (remedies.size() < kMostRemedies && remedies.insert(candidate.remedy).second) {
      error.hint += (error.hint.empty() ? "" : "; or ") + candidate.remedy;
    }
  }
  if (!error.causes.empty()) error.reason = error.causes.front().reason;
  return error;
}

}  // namespace slicebroker::broker
