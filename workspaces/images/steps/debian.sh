#!/bin/sh
# Install Debian packages into an image that a container engine makes: `debian.sh PACKAGE...`.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/* /usr/share/man /usr/share/info /usr/share/locale
# Nothing in an image becomes somebody else.
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
if [ -x /usr/bin/python3 ]; then
    python3 -I /opt/steps/bytecode.py /usr/lib/python3.* /usr/lib/python3
fi
