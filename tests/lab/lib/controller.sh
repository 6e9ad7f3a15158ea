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
	winbindd socket directory = $dir/run/winbindd
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
