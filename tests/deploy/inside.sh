#!/bin/sh
# Makes the root $1 what a container's would be, within namespaces of its own, and becomes its process: read-only but for
# a state directory of user $2, no more rights than that user's. Started by test_container.py; the rest is the command.
set -eu
root=$1 user=$2
shift 2
ip link set lo up 2>/dev/null || ifconfig lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o "uid=${user%:*},gid=${user#*:},mode=700" tmpfs "$root/var/lib/crossfade"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
