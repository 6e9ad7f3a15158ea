# The time service of a host: chronyd, which with -x never touches the machine's clock.

start_ntp() { # start_ntp HOST
    local host=$1 dir=$ROOT/$1/ntp
    local offset=$(($(setting "$host" clock) + $(setting "$host" ntp-offset)))
    mkdir -p "$dir"
    {
        echo "bindaddress $(ipv4 "$host")"
        echo "bindaddress $(ipv6 "$host")"
        echo "allow all"
        # The machine's own clock as the source; without a source, chronyd answers "not synchronised".
        [ "$(setting "$host" ntp-unsynchronised)" != 0 ] || echo "local stratum 3"
        # Windows members ask for signed answers; the controller signs them.
        ! is_controller "$host" || echo "ntpsigndsocket $ROOT/$host/samba/run/ntp_signd"
        # No control port, and root's files only: this is one chronyd of many.
        printf 'cmdport 0\nbindcmdaddress /\npidfile %s/pid\ndriftfile %s/drift\nuser root\n' "$dir" "$dir"
    } >"$dir/chrony.conf"
    rm -f "$dir/pid"
    start_daemon "$host" ntp "$offset" chronyd -x -n -f "$dir/chrony.conf"
}

restart_ntp() {
    stop_daemon "$1" ntp
    start_ntp "$1"
    wait_for_ntp "$1"
}

wait_for_ntp() {
    wait_for "NTP on $1" test -s "$ROOT/$1/ntp/pid"
}
