// SPDX-License-Identifier: Apache-2.0
// Profile ids, placements, sizes and names: MIG user guide, "supported MIG profiles". vGPU type numbers are NVIDIA's
// for the A100's MIG-backed types, L40S-1B (1145), and the RTX PRO 6000's DC-3Q (1519) and DC-1-24Q (1561); all others,
// the VF counts and the placements of the RTX PRO 6000 (assumed to be the A30's) are picked, since they are not
// published.
#include "tests/simhost/kernel/boards.h"

#include <algorithm>
#include <array>

#include "tests/simhost/kernel/board_families.h"

namespace slicebroker::simhost::model {
namespace {

constexpr std::uint16_t kNvidia = 0x10de;
constexpr std::uint16_t kAmd = 0x1002;
constexpr std::uint16_t kIntel = 0x8086;
constexpr std::uint32_t kVga = 0x030000;
constexpr std::uint32_t k3d = 0x030200;

Board nvidia(std::string key, std::string name, std::uint16_t device, std::uint32_t class_code = k3d) {
  Board board;
  board.key = std::move(key);
  board.name = std::move(name);
  board.vendor = kNvidia;
  board.device = device;
  board.class_code = class_code;
  board.driver = "nvidia";
  return board;
}

Board with_vfs(Board board, unsigned total) {
  board.vf_total = total;
  board.vf_offset = 4;  // 0000:41:00.4, as recorded on A100, L40S and RTX PRO 6000
  return board;
}

Board other(std::string key, std::uint16_t vendor, std::uint16_t device, std::uint32_t class_code, std::string driver) {
  Board board;
  board.key = key;
  board.name = std::move(key);
  board.vendor = vendor;
  board.device = device;
  board.class_code = class_code;
  board.driver = std::move(driver);
  board.reset_methods = "pm bus";
  return board;
}

// Of 40 and 80 GB, both Ampere. `lab` is the lab's: VFs next to the PF, one size of time-sliced types.
void add_ampere(std::vector<Board>& boards) {
  auto a100 = with_vfs(nvidia("a100-40", "NVIDIA A100-PCIE-40GB", 0x20f1), 16);
  a100.memory_slices = 8;
  a100.mig_mode_is_persistent = true;
  a100.profiles = seven_slices({"1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"},
                               {4864, 9984, 9984, 20096, 20096, 40448}, {14, 14, 28, 42, 56, 98});
  a100.framebuffer_mb = 40960;
  a100.types = time_sliced("GRID A100-", "C", 468, a100.framebuffer_mb, {4, 5, 8, 10, 20, 40});
  append(a100.types, {{474, 19, 4864, 7, "GRID A100-1-5C"},
                      {475, 14, 9984, 3, "GRID A100-2-10C"},
                      {476, 9, 20096, 2, "GRID A100-3-20C"},
                      {477, 5, 20096, 1, "GRID A100-4-20C"},
                      {478, 0, 40448, 1, "GRID A100-7-40C"},
                      {706, 20, 4864, 1, "GRID A100-1-5CME"}});
  boards.push_back(a100);

  const auto profiles_80gb = seven_slices({"1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"},
                                          {9728, 19968, 19968, 40192, 40192, 80896}, {14, 14, 28, 42, 56, 98});
  const std::vector<VgpuType> types_80gb = {
      {697, -1, 8192, 10, "GRID A100D-8C"},    {699, 19, 9728, 7, "GRID A100D-1-10C"},
      {700, 14, 19968, 3, "GRID A100D-2-20C"}, {701, 9, 40192, 2, "GRID A100D-3-40C"},
      {702, 5, 40192, 1, "GRID A100D-4-40C"},  {703, 0, 80896, 1, "GRID A100D-7-80C"}};
  auto a100_80 = with_vfs(nvidia("a100-80", "NVIDIA A100 80GB PCIe", 0x20b5), 20);
  a100_80.memory_slices = 8;
  a100_80.mig_mode_is_persistent = true;
  a100_80.profiles = profiles_80gb;
  a100_80.framebuffer_mb = 81920;
  a100_80.types = types_80gb;
  boards.push_back(a100_80);

  auto lab = a100_80;
  lab.key = "lab-a100";
  lab.vf_total = 4;
  lab.vf_offset = 1;
  lab.reset_methods = "flr";
  boards.push_back(lab);

  auto lab_h100 = nvidia("lab-h100", "NVIDIA H100 PCIe", 0x2331);
  lab_h100.memory_slices = 8;
  lab_h100.profiles = profiles_80gb;
  lab_h100.reset_methods = "flr";
  boards.push_back(lab_h100);

  auto lab_geforce = nvidia("lab-geforce", "NVIDIA GeForce RTX 4090", 0x2684);
  lab_geforce.reset_methods = "pm bus";
  boards.push_back(lab_geforce);

  auto a30 = with_vfs(nvidia("a30", "NVIDIA A30", 0x20b7), 16);
  a30.memory_slices = 4;
  a30.mig_mode_is_persistent = true;
  a30.profiles = {{14, 0, 1, 1, 0b1111, 4, 14, 5952, "1g.6gb"},
                  {21, 7, 1, 1, 0b1111, 1, 14, 5952, "1g.6gb+me"},
                  {5, 1, 2, 2, 0b0101, 2, 28, 11968, "2g.12gb"},
                  {6, 8, 2, 2, 0b0101, 1, 28, 11968, "2g.12gb+me"},
                  {0, 3, 4, 4, 0b0001, 1, 56, 24000, "4g.24gb"}};
  a30.framebuffer_mb = 24576;
  a30.types = time_sliced("NVIDIA A30-", "C", 683, a30.framebuffer_mb, {4, 6, 8, 12, 24});
  append(a30.types, {{689, 14, 5952, 4, "NVIDIA A30-1-6C"},
                     {690, 5, 11968, 2, "NVIDIA A30-2-12C"},
                     {691, 0, 24000, 1, "NVIDIA A30-4-24C"},
                     {692, 21, 5952, 1, "NVIDIA A30-1-6CME"},
                     {693, 6, 11968, 1, "NVIDIA A30-2-12CME"}});
  boards.push_back(a30);
}

void add_hopper(std::vector<Board>& boards) {
  constexpr std::array kSm = {16U, 26U, 32U, 60U, 64U, 132U};
  const auto h100 = [&](std::string key, std::string name, std::uint16_t device, const std::string& token,
                        unsigned id) {
    auto board = with_vfs(nvidia(std::move(key), std::move(name), device), 20);
    board.memory_slices = 8;
    board.profiles = seven_slices({"1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"},
                                  {9984, 20096, 20096, 40448, 40448, 81088}, kSm);
    board.framebuffer_mb = 81920;
    board.types = time_sliced("NVIDIA " + token + "-", "C", id, board.framebuffer_mb, {4, 5, 8, 10, 16, 20, 40, 80});
    append(board.types, mig_backed("NVIDIA " + token, id + 8, board.profiles, {10, 20, 20, 40, 40, 80}));
    return board;
  };
  boards.push_back(h100("h100-80", "NVIDIA H100 PCIe", 0x2331, "H100", 818));
  boards.push_back(h100("h100-sxm", "NVIDIA H100 80GB HBM3", 0x2330, "H100XM", 1082));

  auto h200 = with_vfs(nvidia("h200", "NVIDIA H200", 0x2335), 20);
  h200.memory_slices = 8;
  h200.profiles = seven_slices({"1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"},
                               {16384, 33536, 33536, 71424, 71424, 143360}, kSm);
  h200.framebuffer_mb = 144384;
  h200.types = time_sliced("NVIDIA H200X-", "C", 1210, h200.framebuffer_mb, {4, 7, 8, 14, 28, 35, 70, 141});
  append(h200.types, mig_backed("NVIDIA H200X", 1218, h200.profiles, {18, 35, 35, 71, 71, 141}));
  boards.push_back(h200);

  auto gh200 = nvidia("gh200", "NVIDIA GH200 480GB", 0x2342);
  gh200.memory_slices = 8;
  gh200.profiles = seven_slices({"1g.12gb", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb"},
                                {11264, 23040, 23040, 47616, 47616, 96768}, kSm);
  boards.push_back(gh200);
}

void add_ada_and_blackwell(std::vector<Board>& boards) {
  auto l40s = with_vfs(nvidia("l40s", "NVIDIA L40S", 0x26b9), 32);
  l40s.framebuffer_mb = 49152;
  l40s.types = time_sliced("NVIDIA L40S-", "B", 1145, l40s.framebuffer_mb, {1, 2});
  append(l40s.types, time_sliced("NVIDIA L40S-", "Q", 1147, l40s.framebuffer_mb, {1, 2, 3, 4, 6, 8, 12, 16, 24, 48}));
  append(l40s.types, time_sliced("NVIDIA L40S-", "A", 1157, l40s.framebuffer_mb, {1, 2, 4, 8, 16, 48}));
  append(l40s.types, time_sliced("NVIDIA L40S-", "C", 1163, l40s.framebuffer_mb, {4, 6, 8, 12, 16, 24, 48}));
  boards.push_back(l40s);

  auto pro = with_vfs(nvidia("rtx-pro-6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition", 0x2bb5), 48);
  pro.memory_slices = 4;
  pro.profiles = {
      {14, 0, 1, 1, 0b1111, 4, 46, 24192, "1g.24gb"},       {21, 7, 1, 1, 0b1111, 1, 46, 24192, "1g.24gb+me"},
      {47, 0xa, 1, 1, 0b1111, 4, 46, 24192, "1g.24gb+gfx"}, {65, 0xf, 1, 1, 0b1111, 1, 46, 24192, "1g.24gb+me.all"},
      {67, 0xd, 1, 1, 0b1111, 4, 46, 24192, "1g.24gb-me"},  {5, 1, 2, 2, 0b0101, 2, 94, 48512, "2g.48gb"},
      {35, 0xb, 2, 2, 0b0101, 2, 94, 48512, "2g.48gb+gfx"}, {64, 0x10, 2, 2, 0b0101, 1, 94, 48512, "2g.48gb+me.all"},
      {66, 0xe, 2, 2, 0b0101, 2, 94, 48512, "2g.48gb-me"},  {0, 3, 4, 4, 0b0001, 1, 188, 97280, "4g.96gb"},
      {32, 0xc, 4, 4, 0b0001, 1, 188, 97280, "4g.96gb+gfx"}};
  pro.framebuffer_mb = 98304;
  const std::string token = "NVIDIA RTX Pro 6000 Blackwell DC-";
  pro.types = time_sliced(token, "Q", 1518, pro.framebuffer_mb, {2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96});
  append(pro.types, {{1554, 47, 2048, 48, token + "1-2Q", 12},
                     {1555, 47, 3072, 32, token + "1-3Q", 8},
                     {1556, 47, 4096, 24, token + "1-4Q", 6},
                     {1558, 47, 6144, 16, token + "1-6Q", 4},
                     {1559, 47, 8192, 12, token + "1-8Q", 3},
                     {1560, 47, 12288, 8, token + "1-12Q", 2},
                     {1561, 47, 24576, 4, token + "1-24Q"},
                     {1562, 35, 24576, 4, token + "2-24Q", 2},
                     {1563, 35, 49152, 2, token + "2-48Q"},
                     {1564, 32, 98304, 1, token + "4-96Q"},
                     {1570, 14, 24576, 4, token + "1-24C"},
                     {1571, 21, 24576, 1, token + "1-24CME"},
                     {1572, 65, 24576, 1, token + "1-24CMEALL"},
                     {1573, 67, 24576, 4, token + "1-24CNOME"},
                     {1574, 5, 49152, 2, token + "2-48C"},
                     {1575, 0, 98304, 1, token + "4-96C"}});
  boards.push_back(pro);
}

void add_other_nvidia(std::vector<Board>& boards) {
  auto t4 = nvidia("t4", "Tesla T4", 0x1eb8);
  t4.framebuffer_mb = 16384;
  t4.types = time_sliced("GRID T4-", "B", 222, t4.framebuffer_mb, {1, 2});
  append(t4.types, time_sliced("GRID T4-", "Q", 230, t4.framebuffer_mb, {1, 2, 4, 8, 16}));
  boards.push_back(t4);

  auto geforce = nvidia("geforce", "NVIDIA GeForce RTX 4090", 0x2684, kVga);
  geforce.has_drm = true;
  geforce.reset_methods = "pm bus";
  boards.push_back(geforce);
  auto turing = nvidia("geforce-turing", "NVIDIA GeForce RTX 2080", 0x1e82, kVga);
  turing.has_drm = true;
  turing.reset_methods = "bus";
  boards.push_back(turing);

  boards.push_back(other("nvidia-audio", kNvidia, 0x22ba, 0x040300, "snd_hda_intel"));
  boards.push_back(other("nvidia-usb", kNvidia, 0x1ad8, 0x0c0330, "xhci_hcd"));
  boards.push_back(other("nvidia-ucsi", kNvidia, 0x1ad9, 0x0c8000, "nvidia-gpu"));
  boards.push_back(other("nvswitch", kNvidia, 0x22a3, 0x068000, "nvidia-nvswitch"));
}

void add_other_vendors(std::vector<Board>& boards) {
  auto mi300x = other("mi300x", kAmd, 0x74a1, 0x120000, "gim");
  mi300x.vf_total = 8;
  mi300x.vf_offset = 0x10;
  mi300x.vf_device = 0x74b5;
  mi300x.reset_methods = "flr bus";
  boards.push_back(mi300x);

  auto flex = other("flex-170", kIntel, 0x56c0, 0x038000, "xe");
  flex.vf_total = 31;
  flex.vf_offset = 1;
  flex.has_drm = true;
  flex.reset_methods = "flr bus";
  boards.push_back(flex);

  // Types share one aperture, each a fraction of it: GVTg_V5_4 is a quarter. Texts as i915's gvt/vgpu.c prints them.
  auto igpu = other("intel-gvt", kIntel, 0x3e92, kVga, "i915");
  igpu.has_drm = true;
  igpu.reset_methods = "flr";
  igpu.framebuffer_mb = 2048;
  for (const unsigned part : {1U, 2U, 4U, 8U}) {
    VgpuType type;
    type.id = part;
    type.framebuffer_mb = igpu.framebuffer_mb / part;
    type.max = part;
    type.sysfs_id = "GVTg_V5_" + std::to_string(part);
    type.name = type.sysfs_id;
    type.description = "low_gm_size: " + std::to_string(512 / part) +
                       "MB\nhigh_gm_size: " + std::to_string(type.framebuffer_mb) +
                       "MB\nfence: 4\nresolution: 1920x1200\nweight: " + std::to_string(16 / part);
    igpu.types.push_back(type);
  }
  boards.push_back(igpu);

  auto nic = other("nic", kIntel, 0x10d3, 0x020000, "e1000e");
  boards.push_back(nic);
  auto nvme = other("nvme", 0x144d, 0xa824, 0x010802, "nvme");
  nvme.vf_total = 32;
  nvme.vf_offset = 1;
  nvme.reset_methods = "flr bus";
  boards.push_back(nvme);
  auto lab_nvme = other("lab-nvme", 0x1b36, 0x0010, 0x010802, "nvme");
  lab_nvme.vf_total = 4;
  lab_nvme.vf_offset = 1;
  boards.push_back(lab_nvme);
  boards.push_back(other("audio", kIntel, 0xa348, 0x040300, "snd_hda_intel"));
  boards.push_back(other("test-device", 0x1b36, 0x0005, 0x00ff00, ""));
  auto edu = other("edu", 0x1234, 0x11e8, 0x00ff00, "");
  edu.reset_methods = "";
  boards.push_back(edu);
  auto isa = other("isa-bridge", kIntel, 0x2918, 0x060100, "");
  isa.reset_methods = "";
  boards.push_back(isa);
  auto port = other("root-port", 0x1b36, 0x000c, 0x060400, "pcieport");
  port.reset_methods = "";
  boards.push_back(port);
  auto bridge = other("pci-bridge", 0x1b36, 0x000e, 0x060400, "");
  bridge.reset_methods = "";
  boards.push_back(bridge);
}

}  // namespace

const std::vector<Board>& all_boards() {
  static const std::vector<Board> boards = [] {
    std::vector<Board> all;
    add_ampere(all);
    add_hopper(all);
    add_ada_and_blackwell(all);
    add_other_nvidia(all);
    add_other_vendors(all);
    return all;
  }();
  return boards;
}

const Board* find_board(std::string_view key) {
  const auto& boards = all_boards();
  const auto at = std::find_if(boards.begin(), boards.end(), [&](const Board& board) { return board.key == key; });
  return at == boards.end() ? nullptr : &*at;
}

}  // namespace slicebroker::simhost::model
