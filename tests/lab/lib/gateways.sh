# The mail gateways of chains.tsv: one Postfix on the host mx, with one listener and one address for each row.

CHAINS=$LAB/chains.tsv
GATEWAY_NUMBER=130 # the last part of the first row's address; hosts have lower ones

# Calls a function with the address and the columns of each row: case sends options facing openssl expected why.
for_each_gateway() { # for_each_gateway FUNCTION
    local function=$1 number=$GATEWAY_NUMBER
    numbered() {
        "$function" "$NET4.$number" "$@"
        number=$((number + 1))
    }
    for_each_row numbered "$CHAINS"
}

# Prints the files of what a row sends, one for each certificate that the server has.
chain_files() { # chain_files "NAME... [/ NAME...]"
    local -a names
    [ "$1" != - ] || return 0
    while read -ra names; do chain_file "${names[@]}"; done <<<"${1// \/ /$'\n'}"
}

start_gateways() {
    local dir=$ROOT/mx/postfix
    mkdir -p "$dir"/{etc,data,spool/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,maildrop,pid,private,public,saved,trace}}
    chown postfix "$dir/data" "$dir"/spool/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,public,saved,trace}
    chgrp postdrop "$dir"/spool/{maildrop,public}
    address() { echo "address add $1/24 dev eth0"; }
    for_each_gateway address | ip -n lab-mx -batch -
    print_postfix_parameters "$dir" >"$dir/etc/main.cf"
    print_postfix_services >"$dir/etc/master.cf"
    start_daemon mx postfix 0 /usr/lib/postfix/sbin/master -i -c "$dir/etc"
}

# No mail is taken. SECLEVEL=0, because weak certificates are what some rows are about.
print_postfix_parameters() { # print_postfix_parameters DIR
    cat <<END
compatibility_level = 3.6
config_directory = $1/etc
queue_directory = $1/spool
data_directory = $1/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = $ROOT/mx/postfix.mail.log
maillog_file_prefixes = $ROOT
inet_protocols = ipv4
mynetworks =
mydestination =
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_client_restrictions = permit
smtpd_sender_restrictions = reject
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = may
smtpd_tls_protocols = >=TLSv1
smtpd_tls_session_cache_database =
tls_medium_cipherlist = ALL:@SECLEVEL=0
max_idle = 5s
END
}

print_postfix_services() {
    listener() {
        local files option
        echo "$1:25 inet n - n - - smtpd"
        echo " -o myhostname=$2.$DOMAIN"
        files=$(chain_files "$3")
        [ -z "$files" ] || echo " -o { smtpd_tls_chain_files = ${files//$'\n'/, } }"
        [ "$4" = - ] || for option in $4; do echo " -o { $option }"; done
    }
    for_each_gateway listener
    cat <<END
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
postlog unix-dgram n - n - 1 postlogd
END
}

# Postfix opens its listeners in their order.
wait_for_gateways() {
    local last
    latest() { last=$1; }
    for_each_gateway latest
    wait_for "Postfix" at mx bash -c ': <"/dev/tcp/$0/25"' "$last"
}

register_gateways() {
    record() { echo "update add $2.$DOMAIN 900 A $1"; }
    for_each_gateway record
}
