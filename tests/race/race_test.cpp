// SPDX-License-Identifier: Apache-2.0
// More brokers at once than there are devices, the unmodified program, and what must hold whoever was first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "broker/ledger/ledger.h"
#include "tests/race/crowd.h"
#include "tests/scenarios/stage.h"

namespace slicebroker::race {
namespace {

using broker::LeaseState;
using broker::Ledger;
using scenarios::Stage;
using testing::Contains;
using testing::IsEmpty;

using Counts = std::map<int, int>;

// By status, and what was said with one that none of `expected` is.
Counts count_statuses(const std::vector<Ending>& endings, const std::set<int>& expected) {
  Counts counts;
  for (const auto& ending : endings) {
    ++counts[ending.status];
    EXPECT_THAT(expected, Contains(ending.status)) << ending.output;
  }
  return counts;
}

std::string name_of(unsigned number) {
  return "vm" + std::to_string(number);
}

class Race : public testing::Test {
 protected:
  void set_stage(const std::string& host) {
    stage_.emplace(std::filesystem::path(RACE_HOSTS) / (host + ".host"), BINARIES, "");
  }

  void control(const std::string& line) {
    const auto done = stage_->host().command(line);
    ASSERT_TRUE(done) << line << ": " << done.error();
  }

  // Runs vm1, vm2 ... and takes the host as it is then for the one to come back to.
  void start_domains(unsigned count) {
    for (unsigned i = 1; i <= count; ++i) {
      control("domain " + name_of(i) + " define");
      control("domain " + name_of(i) + " start");
    }
    stage_->remember();
  }

  std::vector<Command> attach_each(unsigned count, const std::string& selector) {
    std::vector<Command> commands;
    for (unsigned i = 1; i <= count; ++i) commands.push_back({{"slicebroker", "attach", name_of(i), selector}});
    return commands;
  }

  static Ledger ledger() { return Ledger::open_for_reading(std::getenv("SLICEBROKER_STATE")).value(); }
  static std::vector<broker::Lease> leases() { return ledger().read().value().leases; }

  // How often each file of that name was written since the operations were last counted.
  std::map<std::string, int> writes_to(const std::string& name) {
    std::map<std::string, int> writes;
    for (const auto& operation : stage_->host().operations()) {
      std::istringstream words(operation);
      std::string number, kind, path;
      words >> number >> kind >> path;
      if (kind == "write" && path.ends_with("/" + name)) ++writes[path];
    }
    return writes;
  }

  // What holds after anything: no device twice, every lease's guest has it and no other guest has any, a whole trail.
  void check_leases(LeaseState state) {
    std::set<std::string> devices, held;
    for (const auto& lease : leases()) {
      EXPECT_EQ(lease.state, state) << "lease " << lease.generation;
      for (const auto& device : lease.devices) EXPECT_TRUE(devices.insert(device.device).second) << device.device;
      held.insert(lease.vm.target + " " + lease.attachment.id);
    }
    if (state == LeaseState::kAttached) {
      EXPECT_EQ(held, guests_have());
    }
    EXPECT_FALSE(ledger().verify_audit("").value().faulty);
    EXPECT_THAT(ledger().find_damage().value(), IsEmpty());
    EXPECT_THAT(stage_->host().unmodelled(), IsEmpty());
  }

  void check_given_back() {
    EXPECT_THAT(leases(), IsEmpty());
    EXPECT_NO_THROW(stage_->check_same());
    check_leases(LeaseState::kAttached);
  }

  // "vm3 slicebroker-7".
  std::set<std::string> guests_have() {
    std::set<std::string> all;
    const auto domains = std::filesystem::path(stage_->host().root()) / "vmm/domains";
    if (!std::filesystem::exists(domains)) return all;
    for (const auto& entry : std::filesystem::directory_iterator(domains)) {
      std::istringstream text(scenarios::read_file(entry.path()));
      std::string line;
      std::getline(text, line);  // whether it runs
      constexpr std::string_view kPrefix = "ua-";
      while (std::getline(text, line)) {
        all.insert(entry.path().filename().string() + " " +
                   line.substr(kPrefix.size(), line.find(' ') - kPrefix.size()));
      }
    }
    return all;
  }

  std::vector<Ending> detach_all() {
    std::vector<Command> commands;
    for (const auto& lease : leases()) {
      commands.push_back({{"slicebroker", "detach", lease.owner(), std::to_string(lease.generation)}});
    }
    return run_at_once(commands);
  }

  std::optional<Stage> stage_;
};

TEST_F(Race, SevenOfAHundredGetASlice) {
  set_stage("seven-slices");
  start_domains(100);
  control("count");
  EXPECT_EQ(count_statuses(run_at_once(attach_each(100, "profile=1g.10gb")), {0, 4}), (Counts{{0, 7}, {4, 93}}));
  EXPECT_THAT(leases(), testing::SizeIs(7));
  check_leases(LeaseState::kAttached);
  const auto writes = writes_to("current_vgpu_type");
  EXPECT_THAT(writes, testing::SizeIs(7));
  EXPECT_THAT(writes, testing::Each(testing::Pair(testing::_, 1)));

  control("count");
  EXPECT_EQ(count_statuses(detach_all(), {0}), (Counts{{0, 7}}));
  EXPECT_EQ(writes_to("current_vgpu_type"), writes) << "each is cleared as often as it was set";
  check_given_back();
}

// The hook of a domain that asks for one device, as libvirt runs it.
Command hook(const std::string& operation, const std::string& name, const std::string& xml) {
  const std::string stage = operation == "release" ? "end" : "begin";
  return {{"slicebroker", "hook", "libvirt", name, operation, stage, "-"}, xml};
}

std::string domain_xml(unsigned number, const std::string& request, const std::string& hostdev) {
  char uuid[40];
  std::snprintf(uuid, sizeof uuid, "c7a5fdbd-cdaf-4455-926a-%012u", number);
  return "<domain type='kvm'><name>" + name_of(number) + "</name><uuid>" + uuid +
         "</uuid><metadata><slicebroker:request xmlns:slicebroker='urn:slicebroker:1'><slicebroker:device " + request +
         "/></slicebroker:request></metadata><devices><hostdev mode='subsystem' " + hostdev +
         "</source></hostdev></devices></domain>";
}

std::string vf_domain(unsigned number, const std::string& vf) {
  return domain_xml(number, "selector='type=nvidia-821' function='" + vf + "'",
                    "type='pci' managed='no'><source><address domain='0x" + vf.substr(0, 4) + "' bus='0x" +
                        vf.substr(5, 2) + "' slot='0x" + vf.substr(8, 2) + "' function='0x" + vf.substr(11, 1) + "'/>");
}

std::string mdev_domain(unsigned number) {
  char uuid[40];
  std::snprintf(uuid, sizeof uuid, "77777777-7777-4777-8777-%012u", number);
  return domain_xml(number, "selector='type=nvidia-469' mdev='" + std::string(uuid) + "'",
                    "type='mdev' managed='no' model='vfio-pci'><source><address uuid='" + std::string(uuid) + "'/>");
}

// The 64 VFs of sixty-four-vfs.host.
std::vector<std::string> all_vfs() {
  std::vector<std::string> vfs;
  for (const auto* bus : {"18", "2a", "3a", "5d", "9a", "ab", "ba", "db"}) {
    for (const auto* function : {"00.4", "00.5", "00.6", "00.7", "01.0", "01.1", "01.2", "01.3"}) {
      vfs.push_back(std::string("0000:") + bus + ":" + function);
    }
  }
  return vfs;
}

class HookRace : public Race {
 protected:
  void start_and_end(const std::vector<std::string>& domains, const std::string& attribute) {
    const auto run = [&](const std::string& operation) {
      std::vector<Command> commands;
      for (unsigned i = 0; i < domains.size(); ++i) commands.push_back(hook(operation, name_of(i + 1), domains[i]));
      return count_statuses(run_at_once(commands), {0});
    };
    const auto count = static_cast<int>(domains.size());
    control("count");
    EXPECT_EQ(run("prepare"), (Counts{{0, count}}));
    EXPECT_THAT(leases(), testing::SizeIs(domains.size()));
    check_leases(LeaseState::kPrepared);
    int writes = 0;
    for (const auto& [path, times] : writes_to(attribute)) writes += times;
    EXPECT_EQ(writes, count);
    EXPECT_EQ(run("started"), (Counts{{0, count}}));
    EXPECT_EQ(run("release"), (Counts{{0, count}}));
    check_given_back();
  }
};

TEST_F(HookRace, EachOf64DomainsHasItsOwnFunction) {
  set_stage("sixty-four-vfs");
  std::vector<std::string> domains;
  for (const auto& vf : all_vfs()) domains.push_back(vf_domain(static_cast<unsigned>(domains.size()) + 1, vf));
  start_and_end(domains, "current_vgpu_type");
}

TEST_F(HookRace, EachOf64DomainsHasItsOwnMediatedDevice) {
  set_stage("sixty-four-mdevs");
  std::vector<std::string> domains;
  for (unsigned i = 1; i <= 64; ++i) domains.push_back(mdev_domain(i));
  start_and_end(domains, "create");
}

// Some of a crowd are killed, each at an operation on the host; the numbers are drawn, and printed when it fails.
class KilledRace : public Race, public testing::WithParamInterface<unsigned> {
 protected:
  void kill_some(unsigned kills, unsigned operations) {
    for (unsigned i = 0; i < kills; ++i) {
      const auto after = std::uniform_int_distribution<unsigned>(0, operations)(random_);
      const bool before = random_() % 2 == 0;
      const auto line =
          "kill any * after=" + std::to_string(after) + (before ? " when=before" : " when=after") + " who=program";
      drawn_ += line + "\n";
      control(line);
    }
  }

  void settle() {
    control("clear");
    stage_->run("slicebroker reconcile");
    const auto settled = stage_->host().snapshot();
    const auto again = stage_->run("slicebroker reconcile");
    EXPECT_EQ(again.status, 0) << again.output;
    EXPECT_EQ(stage_->host().snapshot(), settled) << "the second reconcile has nothing to do";
  }

  std::mt19937 random_{GetParam()};
  std::string drawn_;
};

INSTANTIATE_TEST_SUITE_P(Seeds, KilledRace, testing::Range(1U, 4U));

TEST_P(KilledRace, LeavesNothingBehind) {
  constexpr int kKilled = 128 + 9;
  set_stage("seven-slices");
  start_domains(16);
  kill_some(8, 20'000);
  SCOPED_TRACE(testing::Message() << drawn_);
  auto counts = count_statuses(run_at_once(attach_each(16, "profile=1g.10gb")), {0, 4, kKilled});
  EXPECT_LE(counts[0], 7);
  settle();
  check_leases(LeaseState::kAttached);
  kill_some(4, 2'000);
  count_statuses(detach_all(), {0, kKilled});
  settle();
  check_leases(LeaseState::kAttached);
  count_statuses(detach_all(), {0});
  check_given_back();
}

}  // namespace
}  // namespace slicebroker::race
