#!/bin/bash
# The same operations that are run on the simulated host, on this kernel: docs/conformance.md. Needs no slicebroker.
# conformance.sh DIRECTORY-OF-THE-PROGRAM mdev|vfio [PART-OF-A-CASE'S-NAME]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

"$lab_dir/host_setup.sh" --framework "$2" --mig
exec "$1/conformance" / "${@:3}"
