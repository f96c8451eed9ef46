#!/bin/sh
# Installs the firmware on Raspberry Pi OS or Debian, or takes it away.
set -eu

usage() {
    cat <<END
install.sh [--board NAME|FILE]   install or update; NAME is raspberry-pi (default), mc252 or simulated
install.sh --uninstall           take the firmware away, keep its settings
install.sh --purge               take everything away, settings and login too

Exit codes: 0 done; 1 something failed; 2 this machine or these arguments will not do.
END
}
refuse() {
    echo "install.sh: $*" >&2
    exit 2
}
fail() {
    echo "install.sh: $*" >&2
    exit 1
}

task=install
board=
while [ $# -gt 0 ]; do
    case "$1" in
    --board)
        [ $# -ge 2 ] || refuse "--board needs a name or a file"
        board=$2
        shift
        ;;
    --uninstall) task=remove ;;
    --purge) task=purge ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) refuse "$1 is no option; see --help" ;;
    esac
    shift
done

[ "$(id -u)" = 0 ] || refuse "must be run as root: sudo $0"
if [ ! -f /etc/debian_version ] || ! command -v apt-get >/dev/null; then
    refuse "is for Raspberry Pi OS and Debian only"
fi
if [ "$task" != install ] && [ -n "$board" ]; then refuse "--board is for installing"; fi

package=mc252-firmware
config=/etc/mc252/board.json
state=/var/lib/mc252
here=$(dirname "$(readlink -f "$0")")

if [ "$task" != install ]; then
    dpkg "--$task" "$package" >/dev/null || fail "dpkg could not take $package away"
    if [ "$task" = purge ]; then
        echo "The firmware, its settings and its login are gone."
    else
        echo "The firmware is gone. Its settings in $state and $config are kept; --purge takes them too."
    fi
    exit 0
fi

# The package: beside this script, or in dist/ of the checkout, or made there now
arch=$(dpkg --print-architecture)
newest() {
    # shellcheck disable=SC2012 # names of packages hold no surprises
    ls -t "$here/${package}"_*_"$arch".deb "$here/../dist/${package}"_*_"$arch".deb 2>/dev/null | head -n 1
}
deb=$(newest)
if [ -z "$deb" ]; then
    [ -x "$here/make-deb" ] || refuse "there is no ${package}_VERSION_$arch.deb beside this script"
    echo "Making the package, which takes a minute or two ..."
    "$here/make-deb" >/dev/null || fail "the package could not be made"
    deb=$(newest)
fi
needed=$(dpkg-deb -f "$deb" Depends | sed -n 's/.*python3 (<< \(3\.[0-9]*\)).*/\1/p')
has=$(/usr/bin/python3 -c 'import sys; print("3.%d" % sys.version_info[1])' 2>/dev/null) || has=none
if [ "$has" != none ]; then
    [ "$has" = "3.$((${needed#3.} - 1))" ] ||
        refuse "$(basename "$deb") is for Python 3.$((${needed#3.} - 1)), this machine has $has; make it here with make deb"
fi

# The board config: what a person wrote there stays
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work" ./usr/share/mc252/board-configs
shipped=$work/usr/share/mc252/board-configs
edited() {
    for file in "$shipped"/*.json /usr/share/mc252/board-configs/*.json; do
        if cmp -s "$file" "$config"; then return 1; fi
    done
    return 0
}
if [ -n "$board" ]; then
    source=$shipped/$board.json
    [ -f "$source" ] || source=$board
    [ -f "$source" ] || refuse "--board $board: neither a board of the package nor a file"
    if [ "$has" != none ]; then
        /usr/bin/python3 -I -m json.tool "$source" >/dev/null 2>&1 || refuse "--board $board: is no JSON"
    fi
    if [ -e "$config" ] && ! cmp -s "$source" "$config" && edited; then
        refuse "$config was edited and is not overwritten; move it away to use --board $board"
    fi
    mkdir -p /etc/mc252
    cp "$source" "$config.new"
    chmod 644 "$config.new"
    mv "$config.new" "$config"
fi

# The same version again is an installation too. apt keeps no log of this one's output.
reinstall=
if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]; then reinstall=--reinstall; fi
# shellcheck disable=SC2086 # an option or nothing
DEBIAN_FRONTEND=noninteractive MC252_INSTALLER=1 apt-get -qq -y -o Dir::Log::Terminal=/dev/null \
    -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root \
    install --allow-downgrades $reinstall "$(readlink -f "$deb")" >/dev/null ||
    fail "apt could not install $(basename "$deb")"

login=$(setpriv --reuid=mc252 --regid=mc252 --clear-groups mc252 provision --state-dir "$state") ||
    fail "installed, but the login could not be made"
if [ -n "$login" ]; then
    echo "Write this down, it is shown only once: $login"
fi
if [ ! -d /run/systemd/system ]; then
    echo "Installed. The firmware starts with the machine."
    exit 0
fi
systemctl start mc252.service || fail "installed, but it does not run; see: journalctl -u mc252"
echo "Installed and running. To try the parts of the board: systemctl stop mc252, then mc252 check --board $config"
if [ -L /etc/systemd/network/10-mc252-ethernet.network ] && ! systemctl -q is-enabled systemd-networkd.service; then
    echo "On this board the firmware sets up the network through systemd-networkd, which is not enabled."
fi
