# What Exchange has put into the directory; make-organisation tells what.

make_organisation() { # make_organisation HOST: a controller that does not run yet
    print_organisation | "$LAB/make-organisation" "$ROOT/$1/samba/etc/smb.conf" "$CERTIFICATES"
}

# What exports and logs of the organisation would say: into $ROOT/inputs, for the plan to name.
make_exports() {
    { print_organisation; print_stock; } | "$LAB/make-exports" "$ROOT/inputs" "$CERTIFICATES"
}

# Which certificates each server has, and for which services.
print_stock() {
    local server
    for server in $(mailbox_servers); do echo "has $server $server:SMTP web:IIS hybrid:SMTP"; done
    for server in $(servers_of_2010); do echo "has $server $server:SMTP web:IIS"; done
    echo "has edge01 edge01-internal:SMTP edge01:SMTP"
}

print_organisation() {
    local role
    echo "domain $DOMAIN"
    echo "mailbox $(mailbox_servers)"
    echo "of-2010 $(servers_of_2010)"
    for role in "${SERVERS[@]}" ex09 mail autodiscover; do echo "$role $(fqdn "$role")"; done
    for role in "${SERVERS[@]}"; do echo "$role.ipv4 $(ipv4 "$role")"; done
    echo "asa $ASA"
    echo "service $SERVICE"
    echo "retired $RETIRED"
    echo "reader $READER"
    echo "reader-password $READER_PASSWORD"
}
