# The Debian packages the lab stands on, installed when missing.

PACKAGES=(
    samba samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind python3-samba # the controllers
    python3-dnspython                                                                   # for samba_dnsupdate
    chrony libfaketime                                                                  # clocks, right and wrong
    iproute2 nftables procps zstd openssl
    bind9-dnsutils ldap-utils # dig, nsupdate and ldapsearch
)

need_packages() {
    local missing
    missing=$(comm -23 <(printf '%s\n' "${PACKAGES[@]}" | sort) <(installed_packages | sort))
    [ -z "$missing" ] || install_packages $missing
}

installed_packages() {
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${PACKAGES[@]}" 2>/dev/null | sed -n 's/ installed$//p'
}

install_packages() ( # a subshell, for the trap
    say "installing $*"
    # Samba and chrony must not start on the machine itself: one of them would set its clock.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    apt-get -qq -o DPkg::Lock::Timeout=600 update >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@" >/dev/null
)
