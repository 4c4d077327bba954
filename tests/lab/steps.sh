# shellcheck shell=bash
# The form of a scenario: numbered steps, each with the commands that are run and their real output, so that a scenario
# reads as a demonstration and fails as a test. Source it inside the lab's machine, with the directory of the binaries
# as the scenario's argument.
#
#   step "what is to be seen"
#   run slicebroker explain MIG-...      prints and runs; the output is in $output, the status in $status
#   expect_status 0
#   expect "a text that the output has"
#
# Ends with `steps: N of N as expected`; anything unexpected prints what was wanted and found, and ends with status 1.

# shellcheck source-path=SCRIPTDIR source=lib.sh
source /lab/repo/tests/lab/lib.sh

scenario=$0
steps_done=0 current='' output='' status=0
PATH=$1:$PATH
export SLICEBROKER_STATE=${SLICEBROKER_STATE:-/var/lib/slicebroker}

finish_step() { [[ -z $current ]] || steps_done=$((steps_done + 1)); current=''; }

step() {
    finish_step
    current=$1
    printf '\n== %s\n' "$1"
}

run() {
    printf '$ %s\n' "$*"
    status=0
    output=$("$@" 2>&1) || status=$?
    [[ -z $output ]] || printf '%s\n' "$output"
}

unexpected() { printf 'FAIL: %s: %s\n' "$current" "$1" >&2; exit 1; }

expect_status() { [[ $status == "$1" ]] || unexpected "exit status $1 was expected and is $status"; }
expect() { [[ $output == *"$1"* ]] || unexpected "the output lacks: $1"; }
expect_not() { [[ $output != *"$1"* ]] || unexpected "the output has: $1"; }

# A fact that is looked at rather than printed by a command.
expect_true() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" >/dev/null 2>&1 || unexpected "not so: $what"
    printf '   %s\n' "$what"
}

expect_same_state() { # BEFORE-FILE
    assert_same_state "$1"
    printf '   the host is exactly as it was: drivers, overrides, mdevs, availability, VFs, MIG layout\n'
}

finish() {
    finish_step
    local total
    total=$(grep -c '^step ' "$scenario")
    printf '\nsteps: %s of %s as expected\n' "$steps_done" "$total"
    ((steps_done == total))
}
