# From a built state to a running lab.

raise() { # raise STATE
    local host start=$EPOCHREALTIME
    for host in $(hosts); do mkdir -p "$ROOT/$host"; done
    print_world >"$ROOT/world"
    print_environment >"$ROOT/environment"
    print_plan >"$ROOT/plan.toml"

    network_up
    tar -C "$ROOT" --xattrs --xattrs-include='*' -I zstd -xf "$1"
    for host in "${DCS[@]}"; do start_controller "$host"; done
    for host in "${DCS[@]}" "${SERVERS[@]}"; do start_ntp "$host"; done

    for host in "${DCS[@]}"; do wait_for_controller "$host"; done
    for host in "${DCS[@]}" "${SERVERS[@]}"; do wait_for_ntp "$host"; done
    say "$DOMAIN is up: ${DCS[*]} ${SERVERS[*]} ($(seconds_since "$start") s)"
}

seconds_since() {
    local micros=$((${EPOCHREALTIME/./} - ${1/./}))
    printf '%d.%d' $((micros / 1000000)) $((micros / 100000 % 10))
}
