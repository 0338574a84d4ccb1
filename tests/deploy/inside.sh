#!/bin/sh
# Makes the root $1 what a container's would be, in namespaces of its own, and becomes its process: read-only but for
# the volume $4, made as the options $3 of tmpfs say; user $2 with no more rights than that user's. Started by
# test_container.py; the rest is the command.
set -eu
root=$1 user=$2 options=$3 volume=$4
shift 4
ip link set lo up 2>/dev/null || ifconfig lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o "$options" tmpfs "$root$volume"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
