# The SMTP connectors and websites of an Exchange server, and the keys that it has for its account.

KEYTABS=$ROOT/keytabs

# The server has the keys that the directory has now: of its own account, and of that which all servers share.
export_keys() { # export_keys HOST
    local account
    mkdir -p "$KEYTABS"
    rm -f "$KEYTABS/$1"
    for account in "${NAME[$1]^^}" "$ASA"; do
        samba_at dc1 samba-tool domain exportkeytab "$KEYTABS/$1" --principal="$account\$"
    done
}

start_exchange() { # start_exchange HOST
    local host=$1 role=mailbox certificate=("$1") internal=$1
    if is_edge "$host"; then
        role=edge certificate=("$host" public-issuing) internal=$host-internal
    fi
    ! is_of_2010 "$host" || role=2010
    mkdir -p "$ROOT/$host/settings"
    # Exchange greets with its local time.
    TZ=CET-1 KRB5_CONFIG=$ROOT/krb5.conf KRB5_KTNAME=FILE:$KEYTABS/$host start_daemon "$host" exchange "$(setting "$host" clock)" "$LAB/exchange-endpoint" --role "$role" --name "$(fqdn "$host")" \
        --certificate "$(chain_file "${certificate[@]}")" --internal "$(chain_file "$internal")" --web "$(chain_file web public-issuing)" \
        --oauth "$(chain_file auth)" --settings "$ROOT/$host/settings" --log "$ROOT/$host/log" "$(ipv4 "$host")" "$(ipv6 "$host")"
}

restart_exchange() {
    stop_daemon "$1" exchange
    start_exchange "$1"
    wait_for_exchange "$1"
}

wait_for_exchange() {
    wait_for "Exchange on $1" at "$1" bash -c ': <"/dev/tcp/$0/25"' "$(ipv6 "$1")"
}
