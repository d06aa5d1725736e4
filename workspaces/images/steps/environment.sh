#!/bin/sh
# Make the environment /opt/venv from the lock /opt/lock, in an image that a container engine makes.
set -eu
python3 -m venv --without-pip /opt/venv
/opt/installer/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
    --only-binary :all: -r /opt/lock
python3 -I /opt/steps/bytecode.py /opt/venv/lib/python3.*/site-packages
