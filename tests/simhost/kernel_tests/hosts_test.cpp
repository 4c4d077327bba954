// SPDX-License-Identifier: Apache-2.0
// Every described host boots, and a description that is wrong is refused with its line.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/simhost/kernel_tests/model_host.h"

namespace slicebroker::simhost {
namespace {

class EveryHost : public testing::TestWithParam<std::string> {};

// Every link leads somewhere: a wrong number of "../" would not.
void check_links(const Tree& tree, const Tree::Node& node, const std::filesystem::path& path) {
  for (const auto& [name, child] : node.children) {
    const auto at = path / name;
    check_links(tree, *child, at);
    if (child->kind != Tree::Node::Kind::kLink || child->target.starts_with("/")) continue;
    const auto target = (path / child->target).lexically_normal().string();
    EXPECT_TRUE(tree.exists(target)) << at << " -> " << child->target;
  }
}

void check_texts(const Tree::Node& node, const std::string& path) {
  for (const auto& [name, child] : node.children) {
    check_texts(*child, path + "/" + name);
    if (!child->file.show) continue;
    EXPECT_NO_THROW(static_cast<void>(child->file.show())) << path << "/" << name;
  }
}

TEST_P(EveryHost, Boots) {
  ModelHost host(GetParam());
  EXPECT_FALSE(host.tree().list("sys/bus/pci/devices").empty());
  check_links(host.tree(), *host.tree().root(), "");
  check_texts(*host.tree().root(), "");
}

TEST_P(EveryHost, BootsAgainWithWhatOutlivesAReboot) {
  ModelHost host(GetParam());
  const auto description = host.kernel().after_reboot(read_host_file(GetParam()));
  Tree tree;
  const auto again = ModelHost::boot_text(description, tree);
  ASSERT_TRUE(again) << again.error();
  EXPECT_NE(*tree.find("proc/sys/kernel/random/boot_id")->file.show(),
            *host.tree().find("proc/sys/kernel/random/boot_id")->file.show());
  EXPECT_EQ(tree.list("sys/bus/pci/devices"), host.tree().list("sys/bus/pci/devices"));
}

// What was loaded can be unloaded and what is plugged in pulled out, with nothing left that the next boot trips over.
TEST_P(EveryHost, LosesAFunctionAndGetsItBack) {
  ModelHost host(GetParam());
  unsigned plugged_in = 0;
  for (const auto& bdf : host.tree().list("sys/bus/pci/devices")) {
    if (!host.tree().exists("sys/bus/pci/devices/" + bdf)) continue;  // a VF of one before
    if (!host.kernel().command("unplug " + bdf)) continue;            // in use, or a VF
    const auto plugged = host.kernel().command("plug " + bdf);
    EXPECT_TRUE(plugged) << bdf << ": " << plugged.error();
    ++plugged_in;
  }
  EXPECT_GT(plugged_in, 0U);
  check_links(host.tree(), *host.tree().root(), "");
}

INSTANTIATE_TEST_SUITE_P(Hosts, EveryHost, testing::ValuesIn(host_names()), [](const auto& host) {
  auto name = host.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

struct WrongCase {
  const char* name;
  const char* description;
  const char* error;
};

const WrongCase kWrong[] = {
    {"Empty", "# nothing\n", "a host without hardware"},
    {"NoBoard", "0000:41:00.0 a1000\n", "line 1: there is no board 'a1000'; there are: a100-40"},
    {"NoAddress", "\n0000:41:0.0 a100-40\n", "line 2: '0000:41:0.0' is neither a setting nor an address"},
    {"Twice", "0000:41:00.0 nic\n0000:41:00.0 nic\n", "line 2: 0000:41:00.0 is there twice"},
    {"NoBridge", "0000:41:00.0 nic below=0000:00:01.0\n", "line 1: there is no bridge '0000:00:01.0' above this line"},
    {"NotABridge", "0000:00:01.0 nic\n0000:41:00.0 nic below=0000:00:01.0\n", "line 2: 0000:00:01.0 is no bridge"},
    {"NoCompanion", "0000:41:00.0 nic group=7\n", "line 1: group= is the address of a function above this line"},
    {"UnknownOption", "0000:41:00.0 nic colour=red\n", "line 1: 'colour=red' means nothing here"},
    {"UnknownSetting", "iommu maybe\n0000:41:00.0 nic\n", "line 1: 'on' or 'off' is expected and not 'maybe'"},
    {"Late", "0000:41:00.0 nic\niommu off\n", "line 2: settings come before hardware"},
    {"LateHardware", "0000:41:00.0 nic\nbind 0000:41:00.0 none\n0000:42:00.0 nic\n",
     "line 3: hardware comes before the first command"},
    {"NoSuchCommand", "0000:41:00.0 nic\nfrobnicate\n", "line 2: there is no command 'frobnicate'"},
    {"NoFit",
     "nvidia 1 vgpu=mdev\n0000:41:00.0 a30\nmig 0000:41:00.0 on\ngi 0000:41:00.0 4g.24gb\ngi 0000:41:00.0 1g.6gb\n",
     "line 5: GPU instance 1g.6gb: No space left on device"},
    {"NoProfile", "nvidia 1\n0000:41:00.0 a30\ngi 0000:41:00.0 9g.1gb\n", "line 3: a30 has no profile '9g.1gb'"},
    {"NoDriver", "0000:41:00.0 a30\nmig 0000:41:00.0 on\n", "line 2: 0000:41:00.0 is not on the nvidia driver"},
    {"NoNode", "0000:41:00.0 nic\nprocess 5000001 qemu vfio:0000:41:00.0\n",
     "line 2: 'vfio:0000:41:00.0' names no node"},
};

class WrongHost : public testing::TestWithParam<WrongCase> {};

TEST_P(WrongHost, IsRefusedWithItsLine) {
  Tree tree;
  const auto kernel = ModelHost::boot_text(GetParam().description, tree);
  ASSERT_FALSE(kernel);
  EXPECT_EQ(kernel.error().substr(0, std::string(GetParam().error).size()), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(Hosts, WrongHost, testing::ValuesIn(kWrong), [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace slicebroker::simhost
