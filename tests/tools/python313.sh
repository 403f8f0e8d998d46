#!/usr/bin/env bash
# Runs `make test` of this checkout on a fresh Debian 13, whose Python is 3.13, in a folder entered by chroot.
#   sudo tests/tools/python313.sh FOLDER [arguments of make, such as TORCH=none]
# Needs root and debootstrap. FOLDER is made where it is absent, and kept: the next run starts with its environment.
# pip, certificates and names of hosts are set up as on this machine. Whatever is mounted is so for this script alone.
set -euo pipefail
if [ -z "${PYTHON313_INSIDE:-}" ]; then
  PYTHON313_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi
root=$(realpath -m "${1:?usage: python313.sh FOLDER [arguments of make]}")
shift
here=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)

if [ ! -e "$root/root/.made" ]; then
  packages=python3,python3-venv,python3-dev,make,git,gcc,g++,ca-certificates
  debootstrap --variant=minbase --include="$packages" trixie "$root"
  touch "$root/root/.made"
fi
# hosts: several processes on CPU devices look this machine's own name up
for settings in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt \
  /etc/pip.conf "$HOME/.config/pip/pip.conf"; do
  if [ -e "$settings" ]; then
    mkdir -p "$root$(dirname "${settings/#$HOME//root}")"
    cp -L "$settings" "$root${settings/#$HOME//root}"
  fi
done

# the checkout as it stands, uncommitted changes included; its environment and compiled programs stay
checkout=$root/root/checkout
mkdir -p "$checkout"
find "$checkout" -mindepth 1 -maxdepth 1 ! -name .venv ! -name .jax_cache -exec rm -rf {} +
cd "$here"
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cT - | tar -xC "$checkout"

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"  # the TPU compiler counts the processors there
if [ -d "${JAXUNLEARN_SHARED:-}" ]; then
  mount --bind "$JAXUNLEARN_SHARED" "$root/mnt"
  export JAXUNLEARN_SHARED=/mnt
fi
HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin exec chroot "$root" make -C /root/checkout test "$@"
