#!/bin/sh
# Boots systemd as process 1 of namespaces of its own, in a root of its own: this machine's /usr to read, all else new.
# Started by test_systemd.py as `unshare … boot.sh inside`; first as `boot.sh outside`, which gives it a cgroup of its
# own, so that no cgroup of this machine is ever touched. $2 is the empty directory of the root, $3 what goes into its
# /etc, $4 the program, $5 the name of the cgroup.
#
# Nothing of this machine may change by it. systemd would otherwise start what a machine needs: udev, which gives
# network interfaces other names, sysctl, kernel modules. So it finds the units that are named here and no generators,
# /sys can't be written, /dev is its own, and the rights to change the kernel are gone.
set -eu
step=$1 root=$2 etc=$3 program=$4 name=$5

# Where cgroups are: one hierarchy (2), or the one that systemd names (1).
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  version=2 hierarchy=/sys/fs/cgroup
else
  version=1 hierarchy=/sys/fs/cgroup/systemd
fi

if [ "$step" = outside ]; then
  if [ "$version" = 1 ] && ! [ -d "$hierarchy" ]; then
    mkdir "$hierarchy"
    mount -t cgroup -o none,name=systemd cgroup "$hierarchy"
  fi
  mkdir "$hierarchy/$name"
  echo $$ >"$hierarchy/$name/cgroup.procs"
  exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child \
    "$0" inside "$root" "$etc" "$program" "$name"
fi

ip link set lo up 2>/dev/null || ifconfig lo up
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr etc run tmp var/lib var/log dev proc sys root home
chmod 1777 tmp
mount --bind -o ro /usr usr
systemd=usr/lib/systemd
for place in usr/local $systemd/system $systemd/system-generators; do
  mount -t tmpfs -o mode=755 tmpfs "$place"
done
targets='sysinit basic sockets paths timers slices local-fs multi-user network-online network shutdown umount final'
for target in $targets; do
  cp "/$systemd/system/$target.target" $systemd/system/
done
for unit in systemd-journald.service systemd-journald.socket; do
  cp "/$systemd/system/$unit" $systemd/system/
done
mkdir usr/local/bin
install -m 755 "$program" usr/local/bin/crossfade
for link in bin sbin lib lib64; do
  if [ -L "/$link" ]; then ln -s "usr/$link" "$link"; else mkdir "$link" && mount --rbind "/$link" "$link"; fi
done
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
for device in null zero full random urandom tty; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs run
mount -t sysfs -o ro sysfs sys
# As on any machine: ports below this one need a right. Of this network namespace alone.
echo 1024 >proc/sys/net/ipv4/ip_unprivileged_port_start
if [ "$version" = 2 ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
cp -r "$etc/." etc/
cp -r /etc/nsswitch.conf /etc/ld.so.cache /etc/ssl etc/
printf 'root:x:0:0:root:/root:/bin/sh\n' >etc/passwd
printf 'root:x:0:\n' >etc/group
: >etc/machine-id
exec env -i container=other PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin \
  setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-sys_boot,-syslog \
  chroot . /lib/systemd/systemd --system --unit=only.target --log-target=console --show-status=no
