#!/bin/sh
# No include points up a floor: vfio/ uses no other folder, hypervisors/ uses vfio/ only. Argument: the source tree.
cd "$1" || exit 1
up=$(grep -rnE '^ *# *include *[<"](\.\./)*(broker|hypervisors)/' vfio
    grep -rnE '^ *# *include *[<"](\.\./)*broker/' hypervisors)
[ -z "$up" ] && exit 0
printf 'includes that point up a floor:\n%s\n' "$up"
exit 1
