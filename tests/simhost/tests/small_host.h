// SPDX-License-Identifier: Apache-2.0
// A stand-in for the model, for tests of the front: boot() here makes a few files whose behaviour the tests know.
//   sys/text          "hello"                  sys/counter       "1", "2" ...: how often it was shown
//   sys/value         what was written last    sys/readonly, sys/unmodelled (writable, no store)
//   sys/create        a name: makes sys/made/NAME/{remove,text} and the link sys/links/NAME
//   sys/wait_for_node waits until nobody has /dev/node open
//   dev/node          can be opened by one at a time (EBUSY)
//   dev/many          counts its opens in sys/opens
//   proc/sys/kernel/random/boot_id
#pragma once

#include <memory>
#include <string>

#include "tests/simhost/simhost.h"

namespace slicebroker::simhost {

std::unique_ptr<SimHost> start_small_host();

}  // namespace slicebroker::simhost
