// SPDX-License-Identifier: Apache-2.0
// A transcript as a play that can be cut. Up to "! count" it prepares, up to "= same" it is counted and cut, and what
// follows gives back what is left. The host is to end as at the last "= remember" before the count, or at the
// beginning. What the transcript says of answers means nothing here.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/faults/cut.h"
#include "tests/scenarios/transcript.h"

namespace slicebroker::faults {

struct Play {
  std::filesystem::path host_file;
  std::filesystem::path binaries;
  std::vector<scenarios::Entry> prepare, cut, give_back;
};

// The host is the one beside the transcript, or else of `hosts`. Throws what is wrong with it.
Play read_play(const std::filesystem::path& binaries, const std::filesystem::path& hosts,
               const std::filesystem::path& file);

// The operations of an uncut play.
struct Counted {
  std::vector<std::string> host, of_broker, ledger;  // of_broker: those of host that no VMM made
};
Counted count(const Play& play);

// Plays it with the cut; throws what does not hold afterwards, with all that was said:
//   - every command ends in time, with a status and an error as documented
//   - one that says "host: untouched" has left the host as it was before it; "host: restored", as before the lease
//   - reconcile settles it, and has nothing to do and changes nothing the second time
//   - no device is leased twice
//   - without a lease the host is as it was and nothing is quarantined; with one, giving it back makes it so
//   - the ledger passes its own check
void strike(const Play& play, const Cut& cut);

}  // namespace slicebroker::faults
