// SPDX-License-Identifier: Apache-2.0
// ch_api_server SOCKET [LOGFILE]: the tests' stand-in for Cloud Hypervisor as a program. It opens the VFIO group of an
// added device like the real one, so it is a holder that a broker can find. Ends on vmm.shutdown or a signal.
//   CH_API_SERVER_ROOT   directory below which /sys and /dev lie (default /)
//   CH_API_SERVER_LOOKS  looks at vm.info for which a device that was asked back stays; -1: for ever (default 0)
//   CH_API_SERVER_BOOT   whether the VM runs from the start; else it waits for vm.create and vm.boot
// On a simulated host, given as CH_API_SERVER_ROOT, each request is an operation of its client on vmm/ch/REQUEST.
#include <cstdio>
#include <cstdlib>

#include "tests/unit/hypervisors/ch_api_server.h"

using slicebroker::hypervisors::test::ChApiServer;

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: ch_api_server SOCKET [LOGFILE]\n");
    return 2;
  }
  const char* root = std::getenv("CH_API_SERVER_ROOT");
  const char* looks = std::getenv("CH_API_SERVER_LOOKS");
  ChApiServer::Options options;
  options.socket = argv[1];
  options.log = argc == 3 ? argv[2] : "";
  options.host_root = root != nullptr ? root : "";
  options.open_devices = true;
  ChApiServer server(options);
  if (!server.listening()) {
    std::perror(argv[1]);
    return 1;
  }
  server.eject_after(looks != nullptr ? std::atoi(looks) : 0);
  if (std::getenv("CH_API_SERVER_BOOT") != nullptr) server.boot_vm();
  std::puts("listening");
  std::fflush(stdout);
  server.wait_for_shutdown();
  return 0;
}
