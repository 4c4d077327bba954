// SPDX-License-Identifier: Apache-2.0
// What the kernel tells of a device in `KEY=VALUE` lines: a sysfs `uevent` attribute, and the netlink message of an
// event. Pure. Source: Linux lib/kobject_uevent.c, drivers/base/core.c (uevent_show, dev_uevent).
//
// Not for looking at a host: a read of the `uevent` attribute may wait for ever. Kernels from 6.10 until 6.15 (commits
// c0a40097f0bc, 9a71892cbcdb; undone by dc1771f71854) and the stable kernels of that time take the device's lock in
// uevent_show, and an unbind that waits in its driver holds that lock. `modalias` and the `driver` link take none.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "vfio/base/result.h"

namespace slicebroker::vfio {

struct Uevent {
  std::string action;                                      // "add", "bind", "unbind" ...; empty for an attribute
  std::string devpath;                                     // "/devices/pci0000:40/0000:41:00.0"; empty for an attribute
  std::map<std::string, std::string, std::less<>> values;  // of a key that comes twice the last one, as udev has it

  // The value of a key; empty where there is none.
  std::string_view value(std::string_view key) const;
  bool operator==(const Uevent&) const = default;
};

// The text of a `uevent` attribute. Unknown keys are kept. Errors: kFailed MALFORMED_UEVENT about `subject` for a line
// that is no KEY=VALUE, a NUL, or more than a page: no attribute is longer.
Result<Uevent> parse_uevent_attribute(std::string_view text, std::string_view subject);

// One message of the kernel's netlink group: "ACTION@DEVPATH", then "KEY=VALUE", each ended by a NUL. Errors: as above,
// for a message without that first line (udev's own messages have none) or of more than 8 KiB.
Result<Uevent> parse_uevent_message(std::string_view message, std::string_view subject);

}  // namespace slicebroker::vfio
