#!/bin/sh
# Name account 1000, which every container runs as: `account.sh LOGIN HOME SHELL`.
set -eu
echo "$1:x:1000:1000::$2:$3" >>/etc/passwd
echo "$1:x:1000:" >>/etc/group
