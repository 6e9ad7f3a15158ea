# What Exchange has put into the directory; make-organisation tells what.

make_organisation() { # make_organisation HOST: a controller that does not run yet
    print_organisation | "$LAB/make-organisation" "$ROOT/$1/samba/etc/smb.conf" "$CERTIFICATES"
}

print_organisation() {
    local role
    echo "domain $DOMAIN"
    echo "mailbox $(mailbox_servers)"
    echo "of-2010 $(servers_of_2010)"
    for role in "${SERVERS[@]}" ex09 mail autodiscover; do echo "$role $(fqdn "$role")"; done
    echo "asa $ASA"
    echo "service $SERVICE"
    echo "retired $RETIRED"
    echo "reader $READER"
    echo "reader-password $READER_PASSWORD"
}
