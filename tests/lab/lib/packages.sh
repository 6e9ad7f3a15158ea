# The Debian packages the lab stands on, installed when missing.

PACKAGES=(
    samba samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind python3-samba # the controllers
    python3-dnspython                                                                   # for samba_dnsupdate
    chrony libfaketime                                                                  # clocks, right and wrong
    iproute2 nftables procps zstd openssl
    bind9-dnsutils ldap-utils # dig, nsupdate and ldapsearch
    krb5-user libsasl2-modules-gssapi-mit # kinit, and Kerberos for ldapsearch
    python3-gssapi            # Kerberos for the Exchange servers, and for probe
    python3-cryptography      # for certificates
    postfix apache2-bin       # gateways that mail comes in by, and where certificate authorities publish
    curl smbclient            # for selftest
)

# One at a time on a machine: of two installations, the one that ends first would take policy-rc.d away from the other.
need_packages() (
    [ -n "$(missing_packages)" ] || return 0
    exec 9>/run/lock/preflight-lab-packages
    flock 9
    missing=$(missing_packages)
    [ -z "$missing" ] || install_packages $missing
)

missing_packages() { comm -23 <(printf '%s\n' "${PACKAGES[@]}" | sort) <(installed_packages | sort); }

installed_packages() {
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${PACKAGES[@]}" 2>/dev/null | sed -n 's/ installed$//p'
}

install_packages() ( # a subshell, for the trap
    say "installing $*"
    # Nothing must start on the machine itself: chrony would set its clock.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    apt-get -qq -o DPkg::Lock::Timeout=600 update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@" >/dev/null
)
