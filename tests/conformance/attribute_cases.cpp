// SPDX-License-Identifier: Apache-2.0
// sysfs as such: how its files are opened, read and written by root.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tests/conformance/run.h"

namespace slicebroker::conformance {
namespace {

std::string nic_file(const Run& run, const std::string& name) {
  return device_path(run.roles.nic) + "/" + name;
}

int outcome(int returned) {
  return returned != 0 ? errno : 0;
}

void read_only(Run& run) {
  const std::string file = nic_file(run, "vendor");
  run.gives("open for writing", EACCES, run.host.open(file, O_WRONLY).error());
  run.gives("open for both", EACCES, run.host.open(file, O_RDWR).error());
  run.gives("open with O_TRUNC", EACCES, run.host.open(file, O_WRONLY | O_TRUNC).error());
}

void write_only(Run& run) {
  const std::string file = "sys/bus/pci/drivers_probe";
  run.gives("open for reading", EACCES, run.host.open(file, O_RDONLY).error());
  run.gives("open for both", EACCES, run.host.open(file, O_RDWR).error());
}

void read_and_write(Run& run) {
  run.gives("open for both", 0, run.host.open(nic_file(run, "driver_override"), O_RDWR).error());
}

// As a shell's > does.
void truncation_changes_nothing(Run& run) {
  run.later([&run] { run.override(run.roles.nic, ""); });
  run.override(run.roles.nic, "some");
  const File file = run.host.open(nic_file(run, "driver_override"), O_WRONLY | O_CREAT | O_TRUNC);
  run.gives("open with O_CREAT and O_TRUNC", 0, file.error());
  run.text(nic_file(run, "driver_override"), "some");
  run.gives("write", 0, file.write("other\n"));
  run.text(nic_file(run, "driver_override"), "other");
  const std::string path = run.host.path(nic_file(run, "driver_override"));
  run.gives("truncate", 0, outcome(::truncate(path.c_str(), 0)));
  run.text(nic_file(run, "driver_override"), "other");
}

void nothing_is_made(Run& run) {
  const std::string path = run.host.path(nic_file(run, "made-by-hand"));
  run.gives("open with O_CREAT", EACCES, File(path, O_WRONLY | O_CREAT).error());
  run.gives("mkdir", EPERM, outcome(::mkdir(path.c_str(), 0755)));
  run.gives("symlink", EPERM, outcome(::symlink("x", path.c_str())));
  run.gone(nic_file(run, "made-by-hand"));
}

void nothing_is_taken(Run& run) {
  const std::string file = run.host.path(nic_file(run, "vendor")), other = file + "2";
  run.gives("unlink", EPERM, outcome(::unlink(file.c_str())));
  run.gives("rename", EPERM, outcome(::rename(file.c_str(), other.c_str())));
  run.gives("rmdir", EPERM, outcome(::rmdir(run.host.path(nic_file(run, "power")).c_str())));
  run.there(nic_file(run, "vendor"));
}

void size_and_mode(Run& run) {
  struct stat status {};
  run.gives("stat", 0, outcome(::stat(run.host.path(nic_file(run, "vendor")).c_str(), &status)));
  run.equal("size", "4096", std::to_string(status.st_size));
  run.equal("mode", std::to_string(S_IFREG | 0444), std::to_string(status.st_mode));
  run.gives("stat", 0, outcome(::stat(run.host.path("sys/bus/pci/drivers_probe").c_str(), &status)));
  run.equal("mode of drivers_probe", std::to_string(S_IFREG | 0200), std::to_string(status.st_mode));
}

void offsets(Run& run) {
  const File file = run.host.open(nic_file(run, "vendor"), O_RDONLY);
  const Text all = file.read();
  run.equal("rest after the end", "", file.read().text);
  run.equal("from the third character", all.text.substr(2), file.read_at(2).text);
  run.equal("beyond the end", "", file.read_at(100).text);
  run.gives("read beyond the end", 0, file.read_at(100).error);
}

// An open file shows what is so when it is read from its start.
void read_again(Run& run) {
  run.later([&run] { run.override(run.roles.nic, ""); });
  const File file = run.host.open(nic_file(run, "driver_override"), O_RDONLY);
  run.equal("before", "(null)\n", file.read_at(0).text);
  run.override(run.roles.nic, "some");
  run.equal("after", "some\n", file.read_at(0).text);
}

void written_twice(Run& run) {
  run.later([&run] { run.override(run.roles.nic, ""); });
  const File file = run.host.open(nic_file(run, "driver_override"), O_WRONLY);
  run.gives("write", 0, file.write("first\n"));
  run.gives("write where the first ended", 0, file.write("second\n"));
  run.text(nic_file(run, "driver_override"), "second");
}

void device_gone_while_open(Run& run) {
  const std::string autoprobe = device_path(run.roles.sriov_plain) + "/sriov_drivers_autoprobe";
  run.later([&run, autoprobe] { run.write(autoprobe, "1\n"); });
  run.write(autoprobe, "0\n");
  const auto vfs = run.with_vfs(run.roles.sriov_plain, 1);
  const std::string path = device_path(vfs[0]);
  const File read = run.host.open(path + "/vendor", O_RDONLY), both = run.host.open(path + "/driver_override", O_RDWR);
  const File started = run.host.open(path + "/device", O_RDONLY);
  run.gives("read before", 0, started.read().error);
  run.write(device_path(run.roles.sriov_plain) + "/sriov_numvfs", "0\n");
  run.gives("read", ENODEV, read.read().error);
  run.gives("read of a read one", ENODEV, started.read_at(0).error);
  run.gives("write", ENODEV, both.write("vfio-pci\n"));
  run.unreadable(path + "/vendor", ENOENT);
  // The same function again is another file.
  run.write(device_path(run.roles.sriov_plain) + "/sriov_numvfs", "1\n");
  run.gives("read after it came again", ENODEV, read.read().error);
  run.gives("read of the new one", 0, run.host.read(path + "/vendor").error);
}

void not_what_they_seem(Run& run) {
  run.unreadable(nic_file(run, "power"), EISDIR);
  run.unreadable(nic_file(run, "vendor/vendor"), ENOTDIR);
  run.unreadable(nic_file(run, "no-such-file"), ENOENT);
  run.gives("open of a directory for writing", EISDIR, run.host.open(nic_file(run, "power"), O_WRONLY).error());
}

void addresses_are_links(Run& run) {
  const std::string path = run.host.path(device_path(run.roles.nic));
  char target[4096];
  const auto size = ::readlink(path.c_str(), target, sizeof(target));
  const std::string text(target, size < 0 ? 0 : static_cast<std::size_t>(size));
  run.equal("start of the link", "../../../devices/pci0000:00/", text.substr(0, 28));
  run.equal("its end", run.roles.nic, text.substr(text.rfind('/') + 1));
}

}  // namespace

std::vector<Case> attribute_cases() {
  return {
      {"attribute.read_only", read_only},
      {"attribute.write_only", write_only},
      {"attribute.read_and_write", read_and_write},
      {"attribute.truncation_changes_nothing", truncation_changes_nothing},
      {"attribute.nothing_is_made", nothing_is_made},
      {"attribute.nothing_is_taken", nothing_is_taken},
      {"attribute.size_and_mode", size_and_mode},
      {"attribute.offsets", offsets},
      {"attribute.read_again", read_again},
      {"attribute.written_twice", written_twice},
      {"attribute.device_gone_while_open", device_gone_while_open},
      {"attribute.not_what_they_seem", not_what_they_seem},
      {"attribute.addresses_are_links", addresses_are_links},
  };
}

}  // namespace slicebroker::conformance
