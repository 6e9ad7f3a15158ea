# A domain controller: Samba with its own DNS server. Its files are below $ROOT/<host>/samba.

write_smb_conf() { # write_smb_conf HOST
    local host=$1 dir=$ROOT/$1/samba
    mkdir -p "$dir"/{etc,run,cache,private}
    # -dnsupdate: it would put back, behind our back, the records that a fault takes away. The build registers them once.
    # -nbt -wrepl: NetBIOS is of no use here.
    # log level: who has logged on, and who has changed what, for ./audit.
    # allow dns updates: a lab needs no signed ones, and faults are planted by nsupdate.
    cat >"$dir/etc/smb.conf" <<END
[global]
	workgroup = $NETBIOS
	realm = $(realm)
	netbios name = ${NAME[$host]^^}
	server role = active directory domain controller
	server services = -dnsupdate -nbt -wrepl
	interfaces = $(ipv4 "$host")/24 $(ipv6 "$host")/64
	bind interfaces only = yes
	prefork children = 2
	private dir = $dir/private
	state directory = $dir/state
	cache directory = $dir/cache
	lock directory = $dir
	pid directory = $dir/run
	binddns dir = $dir/bind-dns
	ncalrpc dir = $dir/run/ncalrpc
	ntp signd socket directory = $dir/run/ntp_signd
	logging = file
	log file = $dir/log.samba
	log level = 1 dsdb_json_audit:5@$dir/log.audit auth_json_audit:3@$dir/log.audit
	tls keyfile = $dir/private/tls/key.pem
	tls certfile = $dir/private/tls/cert.pem
	tls cafile =
	allow dns updates = nonsecure
	nsupdate command = /usr/bin/nsupdate
	dns forwarder =
	drs:max object sync = 1000
	dreplsrv:periodic_interval = 15
	dreplsrv:periodic_startup_interval = 2
[sysvol]
	path = $dir/state/sysvol
	read only = no
[netlogon]
	path = $dir/state/sysvol/$DOMAIN/scripts
	read only = no
END
}

# The certificate for LDAPS, as the company's authority gives one to each controller, and what is between it and the root.
install_ldaps_certificate() { # install_ldaps_certificate HOST NAME...
    local tls=$ROOT/$1/samba/private/tls
    mkdir -p "$tls"
    cp "$CERTIFICATES/$2.key" "$tls/key.pem"
    chmod 600 "$tls/key.pem"
    (cd "$CERTIFICATES" && shift && cat "${@/%/.pem}") >"$tls/cert.pem"
}

# Samba's tools as they would run on that controller.
samba_at() { # samba_at HOST TOOL ARGUMENT...
    KRB5_CONFIG=$ROOT/$1/samba/private/krb5.conf at "$1" "${@:2}" --configfile="$ROOT/$1/samba/etc/smb.conf"
}

start_controller() { # start_controller HOST
    local dir=$ROOT/$1/samba
    rm -rf "$dir/run" && mkdir "$dir/run"
    KRB5_CONFIG=$dir/private/krb5.conf start_daemon "$1" samba "$(setting "$1" clock)" \
        samba --foreground --model=prefork --configfile="$dir/etc/smb.conf"
}

restart_controller() {
    stop_daemon "$1" samba
    start_controller "$1"
    wait_for_controller "$1"
}

# Asked on the controller itself: a planted packet filter lets a host's own packets pass.
wait_for_controller() {
    wait_for "the services of $1" at "$1" \
        bash -c 'for port in 53 88 135 389 445 464 636 3268 3269; do : <"/dev/tcp/$0/$port" || exit 1; done' "$(ipv4 "$1")"
    wait_for "the directory of $1" at "$1" ldapsearch -x -H "ldap://$(ipv4 "$1")" -s base -b '' currentTime
}

# Each controller takes what the others have: of the domain, and of the forest's configuration.
replicate_now() {
    local to
    for to in "${DCS[@]}"; do replicate_to "$to" & done
    wait
}

replicate_to() { # replicate_to HOST
    local from context
    for from in "${DCS[@]}"; do
        [ "$from" != "$1" ] || continue
        for context in $(watched_contexts); do
            drs_at "$1" replicate "$(ipv4 "$1")" "$(fqdn "$from")" "$context" >/dev/null
        done
    done
}

# Only asks for it, for both.
start_replication() { # start_replication HOST FROM
    local context
    for context in $(watched_contexts); do
        drs_at "$1" replicate "$(ipv4 "$1")" "$(fqdn "$2")" "$context" --async-op >/dev/null
    done
}

# By NTLM, and so with nobody's help: the way to a KDC may be what is cut.
drs_at() { # drs_at HOST COMMAND ARGUMENT...
    samba_at "$1" samba-tool drs "${@:2}" --use-kerberos=off -U"Administrator%$ADMIN_PASSWORD"
}

watched_contexts() {
    local base=DC=${DOMAIN//./,DC=}
    echo "$base" "CN=Configuration,$base"
}

# What a controller notes of each of its sources (repsFrom, version 1): how often it has failed since it last went well, and when that was.
has_replicated_since() { # has_replicated_since HOST SECONDS
    local note
    for note in $(notes_of_replication "$1"); do
        [ "${note#*/}" -ge "$2" ] || return 1
    done
}
fails_to_replicate() { # fails_to_replicate HOST
    local note
    for note in $(notes_of_replication "$1"); do
        [ "${note%/*}" -gt 0 ] || return 1
    done
}
notes_of_replication() { # notes_of_replication HOST: FAILURES/SECONDS for each partition and source
    local context note
    for context in $(watched_contexts); do
        LDAPTLS_REQCERT=never at "$1" ldapsearch -x -D "Administrator@$DOMAIN" -w "$ADMIN_PASSWORD" -H "ldaps://$(ipv4 "$1")" -LLL \
            -o ldif-wrap=no -s base -b "$context" repsFrom | sed -n 's/^repsFrom:: //p' |
            while read -r note; do
                # Seconds since 1601.
                base64 -d <<<"$note" | od -An -v -td4 -j12 -N4 | tr -d ' \n'
                base64 -d <<<"$note" | od -An -v -td8 -j16 -N8 | awk '{ printf "/%d\n", $1 - 11644473600 }'
            done
    done
}
