# One namespace a host, all on one bridge, with no way out.

# Runs a command on a host.
at() { # at HOST COMMAND...
    ip netns exec "lab-$1" "${@:2}"
}

# Runs a command apart from the machine: networks, mounts and processes of its own, all gone when it ends.
privately() {
    exec unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private "$@"
}

# Inside `privately`: an empty /run takes the lab, its namespaces and, where /etc/resolv.conf is a link into /run, that file too.
# /dev/shm and /var/tmp are emptied because libfaketime and Kerberos keep files there under names that another lab may also use.
hide_machine() {
    local hidden
    for hidden in /run /dev/shm /var/tmp; do
        mount -t tmpfs -o mode=1777 lab $hidden
    done
    write_resolver
    cover "$ROOT/hosts" /etc/hosts
    cover "$ROOT/resolv.conf" /etc/resolv.conf
}

cover() { # cover WITH FILE
    local file
    file=$(realpath -m "$2")
    [ -e "$file" ] || install -D /dev/null "$file"
    mount --bind "$1" "$file"
}

# No host of the lab is in the hosts file: what DNS says, wrong or right, is what everyone sees.
write_resolver() {
    local dc
    mkdir -p "$ROOT"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$ROOT/hosts"
    {
        echo "search $DOMAIN"
        for dc in "${DCS[@]}"; do echo "nameserver $(ipv4 "$dc")"; done
        echo "options timeout:1 attempts:2"
    } >"$ROOT/resolv.conf"
}

network_up() {
    local host
    ip netns add lab-bridge
    # No multicast snooping: it would hold back IPv6 neighbour discovery at first.
    ip -n lab-bridge link add bridge type bridge forward_delay 0 stp_state 0 mcast_snooping 0
    ip -n lab-bridge link set bridge up
    for host in $(hosts); do
        ip netns add "lab-$host"
        # No link-local address, so that none is registered in DNS; no duplicate address detection, which takes a second.
        ip -n "lab-$host" -batch - <<END
link set lo up
link add eth0 type veth peer name $host netns lab-bridge
link set eth0 addrgenmode none
link set eth0 up
address add $(ipv4 "$host")/24 dev eth0
address add $(ipv6 "$host")/64 dev eth0 nodad
END
        ip -n lab-bridge link set "$host" master bridge up
    done
}
