# shellcheck shell=bash
# shellcheck disable=SC2154 # cache, lab_dir: set by lab
# Builds what a lab boot needs into the cache: kernels, root images, the lab's kernel module, the guest.
# Sourced by `lab`. Nothing is ever installed on this machine, and its apt configuration is only read.
#
# Every product is made in a temporary directory beside its final name and renamed into place, so a name that
# exists is complete. Names carry a hash of what they were made from, so a change of source makes a new one.

readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# In every root, and what only one release calls by its name. libvirt is the same one a Debian host would run.
readonly root_packages=libvirt-daemon-system,libvirt-clients,qemu-system-x86,qemu-utils,mdevctl,kmod,iproute2,procps,\
psmisc,pciutils,sqlite3,jq,python3-minimal,busybox-static,udev,curl,strace

step() { printf 'lab: %s\n' "$*" >&2; }

# publish TMP FINAL: the atomic end of every build; loses politely against someone who was quicker
publish() {
    [[ -e $2 ]] && { rm -rf "$1"; return; }
    mv -T "$1" "$2"
}

hash_of() { cat -- "$@" | sha256sum | cut -c1-12; }

# The mirror's base address for a suite, as the system's own apt names it. Only Debian's own entries carry both
# this suite and the component main, so third-party sources, broken or not, never come into it. Empty where none is.
find_mirror() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get --no-release-info indextargets --format '$(CREATED_BY) $(RELEASE) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
        awk -v suite="$1" '$1 == "Packages" && $2 == suite && $3 == "main" { print $4; exit }'
}

main_mirror() {
    local uri
    uri=$(find_mirror bookworm)
    [[ -n $uri ]] || die "the system's apt names no mirror for Debian's bookworm"
    printf '%s\n' "$uri"
}

# An apt of our own: the system's options (proxy and so on) but our sources, state and cache.
lab_apt() {
    local tool=$1 dir=$cache/apt
    shift
    "$tool" -q -o Dir::State="$dir/state" -o Dir::State::status="$dir/status" -o Dir::Cache="$dir/cache" \
        -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o APT::Sandbox::User=root "$@"
}

apt_update() {
    local dir=$cache/apt main security
    [[ -n ${apt_updated:-} ]] && return
    mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}
    : >"$dir/status"
    main=$(main_mirror)
    security=$(find_mirror bookworm-security)
    {
        printf "deb [signed-by=$keyring] $main %s main\n" bookworm bookworm-updates bookworm-backports
        [[ -z $security ]] || printf 'deb [signed-by=%s] %s bookworm-security main\n' "$keyring" "$security"
    } >"$dir/sources.list"
    step "reading package lists"
    lab_apt apt-get update >"$dir/update.log" 2>&1 || { tail -n 5 "$dir/update.log" >&2; die "apt-get update failed"; }
    apt_updated=1
}

# The full version of the newest stock kernel of a series, e.g. 6.12.95+deb12-amd64.
newest_kernel() {
    lab_apt apt-cache search --names-only "^linux-image-${1//./\\.}[.][0-9.a-z+-]*amd64\$" |
        awk '{ print $1 }' | grep -vE -- '-(cloud|rt)-amd64$|-unsigned$|-dbg$' | sed 's/^linux-image-//' | sort -V | tail -n 1
}

fetch_packages() { # DIR PACKAGE...
    local into=$1
    shift
    mkdir -p "$into"
    (cd "$into" && lab_apt apt-get download "$@" >apt.log 2>&1) || { tail -n 5 "$into/apt.log" >&2; die "cannot fetch $*"; }
}

# Modules that L1 loads. The rest of the kernel's modules stays out: the image is small, and udev can't load a
# real GPU driver for the ids that our module shows.
readonly host_modules=(
    virtio_pci virtio_blk 9pnet_virtio 9p overlay ext4 vfio vfio_pci vfio_iommu_type1 mdev kvm_amd nvme e1000e
    tun bridge loop dm_mod virtio_net
)

prepare_kernel() { # SERIES
    local series=$1 version tmp start=$SECONDS deb headers
    [[ -e $cache/kernel/$series ]] && return
    apt_update
    version=$(newest_kernel "$series")
    [[ -n $version ]] || die "no kernel of series $series in the package lists"
    step "kernel $version"
    mkdir -p "$cache/kernel"
    tmp=$(mktemp -d "$cache/kernel/.tmp.XXXXXX")
    mapfile -t headers < <(lab_apt apt-cache depends "linux-headers-$version" |
        awk '$1 == "Depends:" && $2 ~ /^linux-(headers|kbuild)/ { print $2 }')
    fetch_packages "$tmp/debs" "linux-image-$version" "linux-headers-$version" "${headers[@]}"
    for deb in "$tmp"/debs/linux-headers-*.deb "$tmp"/debs/linux-kbuild-*.deb; do
        dpkg-deb -x "$deb" "$tmp/build"
    done
    # The headers' makefiles include one another by absolute path.
    sed -i "s#\(include  *\)/usr/src#\1$cache/kernel/$version/build/usr/src#" "$tmp/build/usr/src/linux-headers-$version/Makefile"
    mkdir "$tmp/image"
    dpkg-deb --fsys-tarfile "$tmp"/debs/linux-image-*.deb | tar -x -C "$tmp/image" \
        --exclude='*/drivers/gpu/*' --exclude='*/drivers/media/*' --exclude='*/net/wireless/*' --exclude='*/sound/*'
    unpack_kernel "$tmp/image/boot/vmlinuz-$version" "$tmp/vmlinux"
    cp "$tmp/image/boot/config-$version" "$tmp/config"
    keep_modules "$tmp" "$version"
    printf '%s\n' "$version" >"$tmp/version"
    rm -rf "$tmp/debs" "$tmp/image"
    publish "$tmp" "$cache/kernel/$version"
    ln -sfn "$version" "$cache/kernel/$series"
    step "kernel $version ready ($((SECONDS - start)) s)"
}

# unpack_kernel VMLINUZ VMLINUX: QEMU starts the ELF file inside directly (PVH), which spares each emulated boot the
# unpacking. The payload is found by its magic number, as the kernel's own scripts/extract-vmlinux does.
unpack_kernel() {
    local magic offset
    for magic in 'zstd -dc:\x28\xb5\x2f\xfd' 'xz -dc:\xfd7zXZ\x00'; do
        while read -r offset; do
            # Data follows the payload, so the tool complains at its end: the ELF header tells whether it worked.
            # shellcheck disable=SC2086
            tail -c "+$((offset + 1))" "$1" | ${magic%%:*} >"$2" 2>/dev/null || true
            [[ $(head -c 4 "$2" | tr -d '\0') == $'\x7fELF' ]] && return
        done < <(LC_ALL=C grep -aboP "${magic#*:}" "$1" | cut -d: -f1)
    done
    die "cannot find the kernel inside $1"
}

# Leaves in TMP/modules a /lib/modules with the modules of the list and what they need, uncompressed
# (busybox' insmod can't read .xz), plus an ext4 image of it.
keep_modules() { # TMP VERSION
    local tmp=$1 version=$2 from=$1/image/lib/modules/$2 to=$1/modules/$2 name file
    [[ -d $from ]] || from=$1/image/usr/lib/modules/$2
    mkdir -p "$to"
    cp "$from"/modules.{builtin,order}* "$to/"
    mkdir -p "$tmp/image/lib"
    [[ -e $tmp/image/lib/modules ]] || ln -s ../usr/lib/modules "$tmp/image/lib/modules"
    depmod -b "$tmp/image" "$version"
    for name in "${host_modules[@]}"; do
        modprobe -d "$tmp/image" -S "$version" --show-depends "$name" | awk '$1 == "insmod" { print $2 }'
    done | sort -u | while read -r file; do
        name=kernel/${file#*/kernel/}
        mkdir -p "$to/${name%/*}"
        case $file in
            *.xz) xz -dc "$file" >"$to/${name%.xz}" ;;
            *.zst) zstd -dcq "$file" >"$to/${name%.zst}" ;;
            *) cp "$file" "$to/$name" ;;
        esac
    done
    mkdir -p "$tmp/depmod/lib"
    ln -s ../../modules "$tmp/depmod/lib/modules"
    depmod -b "$tmp/depmod" "$version"
    rm -r "$tmp/depmod"
    ext4_image "$tmp/modules" "$tmp/modules.img"
}

# A read-only block device with a page cache of its own starts libvirtd and QEMU several times faster than 9p does.
ext4_image() { # DIR IMAGE
    local size
    size=$(du -sm "$1" | cut -f1)
    mke2fs -F -q -t ext4 -O ^has_journal,^resize_inode -m 0 -b 4096 -d "$1" "$2" "$((size * 115 / 100 + 16))M" >/dev/null
}

root_name() { printf '%s-%s' "$1" "$(printf '%s' "$root_packages" | sha256sum | cut -c1-8)"; }

prepare_root() { # RELEASE
    local release=$1 name start=$SECONDS mirror tmp
    name=$(root_name "$release")
    [[ -e $cache/root/$name/root.img ]] && return
    mirror=$(main_mirror) # one mirror serves every release
    mkdir -p "$cache/root"
    tmp=$(mktemp -d "$cache/root/.tmp.XXXXXX")
    step "root $release (a few hundred MB)"
    mmdebstrap --quiet --mode=root --variant=minbase --keyring="$keyring" --include="$root_packages" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$release" "$tmp/tree" "deb $mirror $release main" >"$tmp/log" 2>&1 ||
        { tail -n 20 "$tmp/log" >&2; die "cannot make root $release"; }
    mkdir -p "$tmp/tree/lab"
    rm -rf "$tmp"/tree/var/lib/apt/lists/* "$tmp"/tree/var/cache/apt/*
    ext4_image "$tmp/tree" "$tmp/root.img"
    rm -rf "$tmp/tree"
    publish "$tmp" "$cache/root/$name"
    step "root $release ready ($((SECONDS - start)) s)"
}

# initrd DIR-WITH-FILES OUT: uncompressed, since unpacking costs more under emulation than reading does.
pack_initrd() { (cd "$1" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$2"; }

initrd_skeleton() { # DIR INIT
    mkdir -p "$1"/{bin,proc,sys,dev}
    cp "$(command -v busybox)" "$1/bin/busybox"
    ln -s busybox "$1/bin/sh"
    install -m 755 "$2" "$1/init"
}

# What depends on a kernel and on files of this folder: the initrds, the module, the NVML stand-in.
artifacts_name() { # SERIES
    printf '%s-%s' "$(<"$cache/kernel/$1/version")" \
        "$(hash_of "$lab_dir"/boot/* "$lab_dir"/guest/init.sh "$lab_dir"/module/* "$lab_dir"/../nvml/*.[ch] "$lab_dir/prepare.sh")"
}

prepare_artifacts() { # SERIES
    local series=$1 name kernel tmp start=$SECONDS
    name=$(artifacts_name "$series")
    [[ -e $cache/artifacts/$name ]] && return
    mkdir -p "$cache/artifacts"
    # Each edit of this folder makes new ones. A run that still uses old ones is no older than a day.
    find "$cache/artifacts" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
    kernel=$(readlink -f "$cache/kernel/$series")
    tmp=$(mktemp -d "$cache/artifacts/.tmp.XXXXXX")
    step "module, NVML stand-in, initrds for ${name%-*}"
    build_module "$kernel" "$tmp"
    cc -std=gnu17 -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -Wl,-soname,libnvidia-ml.so.1 \
        -o "$tmp/libnvidia-ml.so.1" "$lab_dir"/../nvml/{device,state,gpu_instance,compute_instance,vgpu}.c
    cc -std=gnu17 -O2 -Wall -Wextra -Werror -o "$tmp/nvml-list" "$lab_dir/../nvml/list.c"
    host_initrd "$kernel" "$tmp"
    initrd_skeleton "$tmp/guest" "$lab_dir/guest/init.sh"
    pack_initrd "$tmp/guest" "$tmp/guest.initrd"
    ln "$kernel/vmlinux" "$tmp/guest.vmlinux"
    rm -rf "$tmp"/{guest,host,module}
    chmod 755 "$tmp"
    publish "$tmp" "$cache/artifacts/$name"
    step "artifacts ready ($((SECONDS - start)) s)"
}

build_module() { # KERNEL-DIR TMP
    local version
    version=$(<"$1/version")
    cp -r "$lab_dir/module" "$2/module"
    # No pahole here, so no BTF of modules.
    make -C "$1/build/usr/src/linux-headers-$version" M="$2/module" CONFIG_DEBUG_INFO_BTF_MODULES= modules \
        >"$2/module.log" 2>&1 || { grep -E 'error|warning' "$2/module.log" >&2; die "the module does not build for $version"; }
    ! grep -E 'warning:' "$2/module.log" >&2 || die "the module builds with warnings for $version"
    cp "$2/module/nvidia.ko" "$2/nvidia.ko"
}

host_initrd() { # KERNEL-DIR TMP
    local kernel=$1 dir=$2/host version name
    version=$(<"$kernel/version")
    initrd_skeleton "$dir" "$lab_dir/boot/early_init.sh"
    cp "$lab_dir/boot/init.sh" "$dir/init.sh"
    mkdir -p "$dir/modules" "$2/lib"
    ln -s "$kernel/modules" "$2/lib/modules"
    for name in virtio_pci virtio_blk ext4 crc32c_generic overlay 9pnet_virtio 9p; do
        modprobe -d "$2" -S "$version" --show-depends "$name"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
        cp "$file" "$dir/modules/"
        echo "/modules/${file##*/}"
    done >"$dir/modules/order"
    rm -r "${2:?}/lib"
    pack_initrd "$dir" "$2/host.initrd"
}
