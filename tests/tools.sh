#!/bin/sh
# Brings what the tests compare with onto this machine: as root on Debian by apt, elsewhere it says
# what is missing. Tests that miss a tool skip with a word, unless SENTRYBAN_REQUIRE_LAB=1 is set.
#
# `sh tests/tools.sh libipset` brings what a build with the feature libipset needs instead, some
# 100 MB, `sh tests/tools.sh pcap` what one with the feature pcap needs. `sh tests/tools.sh portsentry DIR` unpacks Debian's package of portsentry into DIR, as
# `make test` does into target/tmp/portsentry; it is not installed, since it would be started.
#
# Nothing that is installed here is started, now or at the next boot.
set -eu

# what must be there, and the package that has it
needs='
/usr/bin/fail2ban-regex               fail2ban
/usr/bin/python3                      python3
/usr/bin/bash                         bash
/usr/bin/script                       bsdutils
/usr/bin/nmap                         nmap
/usr/sbin/logrotate                   logrotate
/usr/bin/mandoc                       mandoc
/usr/sbin/logrotate                   logrotate
/usr/bin/unshare                      util-linux
/usr/sbin/ip                          iproute2
/usr/sbin/ipset                       ipset
/usr/bin/tcpdump                      tcpdump
/sbin/route                           net-tools
/usr/sbin/iptables                    iptables
/usr/sbin/nft                         nftables
/sbin/ip                              iproute2
/usr/share/zoneinfo/Europe/Berlin     tzdata
'
if [ "${1:-}" = libipset ]; then
    needs='
/usr/include/libipset/ipset.h         libipset-dev
/usr/lib/llvm-*/lib/libclang.so       libclang-dev
'
elif [ "${1:-}" = pcap ]; then
    needs='
/usr/include/pcap/pcap.h              libpcap-dev
'
fi

is_there() { [ -e "$1" ]; }

missing() {
    echo "$needs" | while read -r path package; do
        # shellcheck disable=SC2086 # a path may hold a star
        [ -z "$path" ] || is_there $path || echo "$package"
    done | sort -u | tr '\n' ' '
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    # Debian starts a service as it is installed, unless this file says no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -q </dev/null || echo "tests/tools.sh: no new package lists; trying the old ones" >&2
    # shellcheck disable=SC2086 # several packages
    apt-get install -q -y --no-install-recommends $1 </dev/null || return 1
    case $1 in
        *fail2ban*) systemctl disable fail2ban >/dev/null 2>&1 || : ;;
    esac
    case $1 in
        *logrotate*) systemctl disable logrotate.timer >/dev/null 2>&1 || : ;;
    esac
}

unpack_portsentry() (
    [ ! -x "$1/usr/sbin/portsentry" ] || exit 0
    mkdir -p "$1.new.$$"
    trap 'rm -rf "$1.new.$$"' EXIT
    cd "$1.new.$$"
    apt-get download -q portsentry >/dev/null 2>&1 ||
        { apt-get update -q >/dev/null </dev/null && apt-get download -q portsentry >/dev/null; }
    dpkg-deb -x portsentry_*.deb package
    # Somebody else may have been faster.
    mv -T package "$1" 2>/dev/null || [ -x "$1/usr/sbin/portsentry" ]
)

if [ "${1:-}" = portsentry ]; then
    unpack_portsentry "$(realpath -m "$2")"
    exit
fi
if [ $# = 0 ] && command -v apt-get >/dev/null; then
    target=$(realpath -m "${CARGO_TARGET_DIR:-$(dirname "$0")/../target}")
    unpack_portsentry "$target/tmp/portsentry" ||
        echo "tests/tools.sh: the package of portsentry cannot be had" >&2
fi

want=$(missing)
[ -n "$want" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "tests/tools.sh: installing $want"
    install_packages "$want" || echo "tests/tools.sh: apt-get failed" >&2
    want=$(missing)
fi
[ -n "$want" ] || exit 0
echo "tests/tools.sh: missing here: $want(on Debian: sudo apt-get install $want)" >&2
if [ "${SENTRYBAN_REQUIRE_LAB:-0}" = 1 ]; then
    echo "tests/tools.sh: SENTRYBAN_REQUIRE_LAB=1 asks for all of them" >&2
    exit 1
fi
case ${1:-} in libipset | pcap) exit 0 ;; esac
echo "tests/tools.sh: going on; tests that compare with these will say that they skip" >&2
