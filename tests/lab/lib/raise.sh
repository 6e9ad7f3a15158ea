# From a built state to a running lab.

raise() { # raise STATE
    local host start=$EPOCHREALTIME seconds=$EPOCHSECONDS
    for host in $(hosts); do mkdir -p "$ROOT/$host"; done
    print_world >"$ROOT/world"
    print_environment >"$ROOT/environment"
    print_plan >"$ROOT/plan.toml"
    print_bare_plan >"$ROOT/plan-bare.toml"
    print_chains_plan >"$ROOT/chains.toml"
    print_krb5_conf >"$ROOT/krb5.conf"

    network_up
    tar -C "$ROOT" --xattrs --xattrs-include='*' -I zstd -xf "$1"
    for host in "${DCS[@]}" "${FOREIGN_DCS[@]}"; do start_controller "$host"; done
    for host in "${DCS[@]}" "${SERVERS[@]}"; do start_ntp "$host"; done
    for host in "${SERVERS[@]}"; do start_exchange "$host"; done
    start_pki
    start_gateways

    for host in "${DCS[@]}" "${FOREIGN_DCS[@]}"; do wait_for_controller "$host"; done
    for host in "${DCS[@]}" "${SERVERS[@]}"; do wait_for_ntp "$host"; done
    for host in "${SERVERS[@]}"; do wait_for_exchange "$host"; done
    wait_for_pki
    wait_for_gateways
    # What the controllers remember is as old as the state.
    for host in "${DCS[@]}"; do wait_for "the replication of $host" has_replicated_since "$host" "$seconds"; done
    say "$DOMAIN is up: ${DCS[*]} ${FOREIGN_DCS[*]}${FOREIGN_DCS:+ }${SERVERS[*]} ($(seconds_since "$start") s)"
}

seconds_since() {
    local micros=$((${EPOCHREALTIME/./} - ${1/./}))
    printf '%d.%d' $((micros / 1000000)) $((micros / 100000 % 10))
}
