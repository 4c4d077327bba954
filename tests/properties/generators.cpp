// SPDX-License-Identifier: Apache-2.0
#include "tests/properties/generators.h"

#include <utility>

namespace slicebroker::properties {
namespace {

rc::Gen<unsigned> below(unsigned end) {
  return rc::gen::inRange(0U, end);
}

// True once in so many cases; shrinks to false.
rc::Gen<bool> rarely(unsigned once_in) {
  return rc::gen::map(below(once_in), [once_in](unsigned n) { return n == once_in - 1; });
}

// The same the other way round: shrinks to true.
rc::Gen<bool> mostly(unsigned once_in) {
  return rc::gen::map(rarely(once_in), [](bool rare) { return !rare; });
}

// At most so many, whatever the case's size.
template <class T>
rc::Gen<std::vector<T>> some(unsigned most, rc::Gen<T> element) {
  return rc::gen::resize(static_cast<int>(most), rc::gen::container<std::vector<T>>(std::move(element)));
}

// Elements keep their full range inside a short list.
template <class T>
rc::Gen<T> full(rc::Gen<T> gen) {
  return rc::gen::resize(rc::kNominalSize, std::move(gen));
}

template <class T>
rc::Gen<std::vector<T>> few(unsigned most, rc::Gen<T> element) {
  return some(most, full(std::move(element)));
}

rc::Gen<InstanceDraft> instance() {
  return rc::gen::build<InstanceDraft>(
      rc::gen::set(&InstanceDraft::profile, below(3)),
      rc::gen::set(&InstanceDraft::compute_instances, rc::gen::weightedElement<unsigned>({{8, 1}, {1, 0}, {1, 2}})));
}

rc::Gen<VgpuDraft> vgpu() {
  return rc::gen::build<VgpuDraft>(rc::gen::set(&VgpuDraft::function, below(4)),
                                   rc::gen::set(&VgpuDraft::type, below(4)),
                                   rc::gen::set(&VgpuDraft::instance, below(3)));
}

rc::Gen<CompanionDraft> companion() {
  return rc::gen::build<CompanionDraft>(rc::gen::set(&CompanionDraft::kind, below(4)),
                                        rc::gen::set(&CompanionDraft::driver, below(4)));
}

rc::Gen<GpuDraft> gpu() {
  return rc::gen::build<GpuDraft>(
      rc::gen::set(&GpuDraft::board, rc::gen::weightedElement<Board>({{6, Board::kA100},
                                                                      {3, Board::kL40s},
                                                                      {2, Board::kT4},
                                                                      {1, Board::kGraceHopper},
                                                                      {2, Board::kMi300x},
                                                                      {1, Board::kGvt},
                                                                      {1, Board::kFlex}})),
      rc::gen::set(&GpuDraft::on, rc::gen::weightedElement<OnDriver>(
                                      {{8, OnDriver::kOwn}, {1, OnDriver::kVfioPci}, {1, OnDriver::kNone}})),
      rc::gen::set(&GpuDraft::framework, rc::gen::weightedElement<Framework>(
                                             {{4, Framework::kVendor}, {4, Framework::kMdev}, {1, Framework::kNone}})),
      rc::gen::set(&GpuDraft::vfs, below(5)), rc::gen::set(&GpuDraft::mig, mostly(4)),
      rc::gen::set(&GpuDraft::known_to_nvml, mostly(10)), rc::gen::set(&GpuDraft::hidden_vgpu, rarely(12)),
      rc::gen::set(&GpuDraft::mixed_sizes, rarely(4)), rc::gen::set(&GpuDraft::in_group_before, rarely(3)),
      rc::gen::set(&GpuDraft::vfs_in_group, rarely(8)), rc::gen::set(&GpuDraft::variant_loaded, mostly(4)),
      rc::gen::set(&GpuDraft::available, rc::gen::weightedElement<unsigned>({{3, 1}, {2, 2}, {1, 0}})),
      rc::gen::set(&GpuDraft::instances, few(5, instance())), rc::gen::set(&GpuDraft::vgpus, few(3, vgpu())),
      rc::gen::set(&GpuDraft::companions, few(3, companion())));
}

rc::Gen<HostDraft> host() {
  return rc::gen::build<HostDraft>(
      rc::gen::set(&HostDraft::nvml, mostly(8)), rc::gen::set(&HostDraft::iommu, mostly(12)),
      rc::gen::set(&HostDraft::vfio_pci, mostly(12)), rc::gen::set(&HostDraft::nvswitch, rarely(8)),
      rc::gen::set(&HostDraft::holders, few(1, below(32))));
}

rc::Gen<HoldDraft> hold() {
  return rc::gen::build<HoldDraft>(rc::gen::set(&HoldDraft::device, below(64)),
                                   rc::gen::set(&HoldDraft::kind, below(5)));
}

rc::Gen<PolicyDraft> policy() {
  return rc::gen::build<PolicyDraft>(
      rc::gen::set(&PolicyDraft::include, rc::gen::weightedElement<unsigned>({{16, 0}, {1, 1}, {1, 2}})),
      rc::gen::set(&PolicyDraft::exclude, few(1, below(8))), rc::gen::set(&PolicyDraft::deny, few(1, below(4))),
      rc::gen::set(&PolicyDraft::deny_to_first, few(1, below(4))), rc::gen::set(&PolicyDraft::no_fallback, rarely(5)),
      rc::gen::set(&PolicyDraft::least_isolation, rc::gen::weightedElement<unsigned>({{16, 0}, {1, 1}, {1, 2}})),
      rc::gen::set(&PolicyDraft::members, rarely(2)));
}

rc::Gen<RequestDraft> request() {
  return rc::gen::build<RequestDraft>(
      rc::gen::set(&RequestDraft::kind, below(7)), rc::gen::set(&RequestDraft::name, below(64)),
      rc::gen::set(&RequestDraft::target,
                   rc::gen::weightedElement<unsigned>({{12, 0}, {1, 4}, {1, 5}, {1, 6}, {1, 7}})),
      rc::gen::set(&RequestDraft::no_fallback, rarely(3)),
      rc::gen::set(&RequestDraft::isolation, rc::gen::weightedElement<unsigned>({{16, 0}, {1, 1}, {1, 2}})),
      rc::gen::set(&RequestDraft::all_members, rarely(2)), rc::gen::set(&RequestDraft::members, few(3, below(16))),
      rc::gen::set(&RequestDraft::allow_nvswitch, rarely(2)), rc::gen::set(&RequestDraft::agreed, below(32)));
}

// Nothing happens on a host without GPUs, and nothing where nothing is asked.
template <class T>
rc::Gen<std::vector<T>> one_and_few(unsigned most, const rc::Gen<T>& element) {
  return rc::gen::map(rc::gen::pair(full(element), few(most, element)), [](std::pair<T, std::vector<T>> drawn) {
    drawn.second.insert(drawn.second.begin(), std::move(drawn.first));
    return std::move(drawn.second);
  });
}

}  // namespace

void showValue(const WorldDraft& draft, std::ostream& out) {
  out << "\n" << to_text(make_world(draft));
}

}  // namespace slicebroker::properties

rc::Gen<slicebroker::properties::WorldDraft> rc::Arbitrary<slicebroker::properties::WorldDraft>::arbitrary() {
  using namespace slicebroker::properties;
  return gen::build<WorldDraft>(
      gen::set(&WorldDraft::host, gen::map(gen::pair(host(), one_and_few(2, gpu())),
                                           [](std::pair<HostDraft, std::vector<GpuDraft>> drawn) {
                                             drawn.first.gpus = std::move(drawn.second);
                                             return std::move(drawn.first);
                                           })),
      gen::set(&WorldDraft::holds, few(3, hold())),
      gen::set(&WorldDraft::policy, gen::oneOf(gen::just(PolicyDraft{}), policy())),
      gen::set(&WorldDraft::requests, one_and_few(4, request())));
}
