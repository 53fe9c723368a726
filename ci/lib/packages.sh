# Copyright (C) MailPing

# The Debian packages that building, testing and the demo need, and the one
# function that installs what is missing of them.  Sourced by the scripts of
# ci/.


packages_build="gcc make pkg-config nginx nginx-dev libmaxminddb-dev
    libhiredis-dev libssl-dev"

packages_demo="$packages_build redis-server redis-tools perl curl"

packages_test="$packages_demo clang libio-socket-ssl-perl openssl procps
    valgrind strace mmdb-bin nodejs php-cli python3"

packages_bench="$packages_demo wrk"


packages_policy=/usr/sbin/policy-rc.d


packages_missing() {
    local name status

    for name in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) \
            || status=none

        if [ "$status" != installed ]; then
            printf '%s\n' "$name"
        fi
    done
}


# Packages start their services while they are installed unless the policy of
# the machine denies it.  Where there is no policy, one is there for the time
# of the installation.  A policy of the operator's own is not replaced; when
# it would let nginx start, the packages are the operator's to install.

packages_deny_services() {
    local rc=0

    if [ -e "$packages_policy" ]; then
        "$packages_policy" nginx start >/dev/null 2>&1 || rc=$?

        if [ "$rc" -ne 101 ]; then
            echo "$packages_policy lets packages start their services, which" \
                 "would start this machine's nginx and Redis" >&2
            return 1
        fi

        return 0
    fi

    # an EXIT trap is safe: the caller runs in a subshell

    trap 'rm -f "$packages_policy"' EXIT

    printf '#!/bin/sh\n\n# there while ci/ of mailping installs\n\nexit 101\n' \
        > "$packages_policy"
    chmod 755 "$packages_policy"
}


# Installs those of the named packages that are missing, without starting any
# service, or says what to install.

packages_install() (
    set -euo pipefail

    missing=$(packages_missing "$@")

    if [ -z "$missing" ]; then
        exit 0
    fi

    if ! command -v apt-get >/dev/null; then
        echo "not Debian or Ubuntu; what these packages hold is needed:" >&2
        echo "    "$missing >&2
        exit 1
    fi

    if [ "$(id -u)" -ne 0 ] || ! packages_deny_services; then
        echo "packages are missing, install them as root with" >&2
        echo "    apt-get install" $missing >&2
        exit 1
    fi

    echo "installing" $missing

    export DEBIAN_FRONTEND=noninteractive

    apt-get update -q
    apt-get install -q -y --no-install-recommends $missing

    echo "installed; no service was started"
)
