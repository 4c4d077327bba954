# shellcheck shell=bash
# Sourced by ./check and ./demo: installs what a fresh Debian 12 lacks, as root or with sudo.

say() { printf '\n=== %s\n' "$*"; }

# shellcheck disable=SC2034 # used by those who source this
build_packages=(build-essential g++ clang-14 cmake ninja-build pkg-config nlohmann-json3-dev libsqlite3-dev
    libsodium-dev libcli11-dev libtomlplusplus-dev libpugixml-dev libboost-dev libexpected-dev libvirt-dev libgtest-dev
    libgmock-dev libclang-rt-14-dev libxml2-utils libfuse3-dev fuse3 librapidcheck-dev)
# shellcheck disable=SC2034
lab_packages=(qemu-system-x86 qemu-utils e2fsprogs cpio busybox-static mmdebstrap kmod xz-utils zstd flex bison bc libelf-dev
    curl ca-certificates debian-archive-keyring util-linux)

install_packages() {
    local missing=() package as_root=()
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing ${#missing[@]} packages: ${missing[*]}"
    ((EUID == 0)) || as_root=(sudo)
    # A source of somebody else's that does not answer is no reason to stop: the install below tells.
    "${as_root[@]}" apt-get update || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}
