#!/bin/sh
# sandbox.sh ROOT HOSTNAME [FROM:TO ...] -- COMMAND [ARG ...]: run COMMAND as a container runtime would, where it sees
# this machine's programs, the directories FROM at TO, and nothing else, all of it read-only.
# ROOT: an empty directory. Needs root, and namespaces of its own: unshare --mount --uts sandbox.sh ...
set -eu
root=$1 hostname=$2
shift 2

bind() {
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2"
}

echo "$hostname" >/proc/sys/kernel/hostname
mount -t tmpfs -o mode=0755 none "$root"
mkdir -p "$root/run" "$root/var" "$root/proc" "$root/dev"
ln -s ../run "$root/var/run"
for path in /usr /etc /bin /sbin /lib /lib64; do
    if [ -L "$path" ]; then
        cp -P "$path" "$root$path"
    elif [ -d "$path" ]; then
        bind "$path" "$path"
    fi
done
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    bind "${1%%:*}" "${1#*:}"
    shift
done
shift
mount -o remount,ro "$root"
exec chroot "$root" "$@"
