# The world of the lab: who is there, what everyone is called and where they live.
#
# Scripts and faults.tsv speak of hosts by their roles (dc1, ex01, ...). What a role is called and which address it has are
# parameters: the defaults below, or drawn from --seed, or set by the file of --world.

DCS=(dc1 dc2)
SERVERS=(ex01 ex02 ex03 edge01)
OTHERS=(mx pki) # the gateways of chains.tsv, and the web server of the certificate authorities
FOREIGN_DCS=()  # with --with-trust: the controller of a second forest

DOMAIN=contoso.com
NETBIOS=CONTOSO
SECOND_DOMAIN=fabrikam.com
NET4=10.53.0 # a /24
NET6=fd53::  # a /64
# dc9 is the name and the address of nobody: records that point at it are stale. ex09 is a server that the directory knows because
# it was provisioned, and that was never installed. ex10 is there with --with-2010 only. mail is what edge01 is called outside, and mail
# and autodiscover are what web clients call the servers.
declare -A NAME=([dc1]=dc1 [dc2]=dc2 [ex01]=ex01 [ex02]=ex02 [ex03]=ex03 [edge01]=edge01 [mx]=mx [pki]=pki [client]=client
    [ex09]=ex09 [ex10]=ex10 [dc9]=dc9 [mail]=mail [autodiscover]=autodiscover)
# The last part of each address, IPv4 and IPv6 alike. Those from 130 on belong to the rows of chains.tsv.
declare -A NUMBER=([dc1]=11 [dc2]=12 [ex01]=21 [ex02]=22 [ex03]=23 [ex10]=24 [edge01]=31 [mx]=41 [pki]=42 [client]=100 [dc9]=9)

ADMIN_PASSWORD='Lab-Passw0rd!'
# Accounts of the directory: a user without any rights, by whom the program may log on; the account of a service that relays mail, of
# another one that was disabled, and the account that stands for all servers where clients use their common names.
READER=reader
READER_PASSWORD='Lab-Reader-1'
SERVICE=svc-relay
RETIRED=svc-old
ASA=EXCHASA

realm() { echo "${DOMAIN^^}"; }
fqdn() { if [ "$1" = dcf ]; then echo "${NAME[dcf]}.$SECOND_DOMAIN"; else echo "${NAME[$1]}.$DOMAIN"; fi; }
ipv4() { echo "$NET4.${NUMBER[$1]}"; }
ipv6() { echo "$NET6${NUMBER[$1]}"; }
hosts() { echo "${DCS[@]}" "${FOREIGN_DCS[@]}" "${SERVERS[@]}" "${OTHERS[@]}" client; }
has_second_forest() { [ ${#FOREIGN_DCS[@]} -gt 0 ]; }
second_realm() { echo "${SECOND_DOMAIN^^}"; }
second_mail() { echo "mail.$SECOND_DOMAIN"; } # a name that an account of the second forest holds; no host is behind it
is_controller() { [[ " ${DCS[*]} " == *" $1 "* ]]; }
is_edge() { [[ $1 == edge* ]]; }
is_of_2010() { [[ $1 == ex10 ]]; }
mailbox_servers() { for server in "${SERVERS[@]}"; do is_edge "$server" || is_of_2010 "$server" || echo "$server"; done | xargs; }
servers_of_2010() { for server in "${SERVERS[@]}"; do ! is_of_2010 "$server" || echo "$server"; done | xargs; }

# Draws every name and address from a seed: the same seed, the same world.
draw_world() {
    local seed=$1 draws=0 drawn
    draw() { # a number below $1, into `drawn`: a subshell would forget the count
        draws=$((draws + 1))
        drawn=$((0x$(sha256sum <<<"$seed $draws" | head -c 8) % $1))
    }
    syllable() { # appends one to the variable named $1
        local -n word=$1
        local consonants=bdfgklmnprstvz vowels=aeiou
        draw ${#consonants}; word+=${consonants:drawn:1}
        draw ${#vowels}; word+=${vowels:drawn:1}
    }

    local label='' house='' role number=10
    syllable label; syllable label; syllable label
    draw 10; DOMAIN=$label$drawn.example
    NETBIOS=${label^^}

    syllable house
    draw 9; local first=$((drawn + 1))
    NAME[dc1]=$house-ad-$first
    NAME[dc2]=$house-ad-$((first + 1))
    NAME[dc9]=$house-ad-$((first + 7))
    draw 9; first=$((drawn + 1))
    NAME[ex01]=$house-mx-$first
    NAME[ex02]=$house-mx-$((first + 1))
    NAME[ex03]=$house-mx-$((first + 4))
    NAME[ex09]=$house-mx-$((first + 6))
    NAME[ex10]=$house-mx-$((first + 8))
    NAME[edge01]=$house-gate
    NAME[client]=$house-desk
    READER=$house.reader SERVICE=$house-relay RETIRED=$house-scanner ASA=${house^^}-WEB

    draw 256; NET4=10.$drawn
    draw 256; NET4+=.$drawn
    draw 65536; printf -v NET6 'fd53:%x::' "$drawn"
    for role in dc1 dc2 ex01 ex02 ex03 edge01 client mx pki; do
        draw 12; number=$((number + 1 + drawn))
        NUMBER[$role]=$number
    done
    NUMBER[ex10]=$((number + 1))

    label=''
    syllable label; syllable label; syllable label; syllable label
    draw 10; SECOND_DOMAIN=$label$drawn.example
}

# Added late: the first forest is the same without it, and so is its state.
add_second_forest() {
    FOREIGN_DCS=(dcf)
    NAME[dcf]=${SECOND_DOMAIN:0:3}1
    NUMBER[dcf]=$((NUMBER[ex10] + 1))
}

# Runs a function as if the second forest were the only one.
in_second_forest() {
    local DOMAIN=$SECOND_DOMAIN NETBIOS=${SECOND_DOMAIN%%.*}
    NETBIOS=${NETBIOS^^}
    "$@"
}

# The world as bash text: kept in a running lab for plant and mend, and part of the key of a built state.
print_world() {
    declare -p DCS SERVERS OTHERS DOMAIN NETBIOS NET4 NET6 NAME NUMBER ADMIN_PASSWORD READER READER_PASSWORD SERVICE RETIRED ASA
    ! has_second_forest || declare -p FOREIGN_DCS SECOND_DOMAIN
}

# The world as CMD sees it: names and addresses in the environment.
print_environment() {
    local role
    echo "export LAB='$LAB' LAB_PLAN='$ROOT/plan.toml' LAB_DOMAIN='$DOMAIN' LAB_REALM='$(realm)' LAB_DC9='$(fqdn dc9)'"
    echo "export EXCHANGE_PREFLIGHT_PLAN='$ROOT/plan.toml'" # so that `run` alone knows the servers
    echo "export LAB_CHAINS_PLAN='$ROOT/chains.toml' LAB_CERTIFICATES='$CERTIFICATES'"
    echo "export LAB_MAIL='$(fqdn mail)' LAB_AUTODISCOVER='$(fqdn autodiscover)'"
    echo "export LAB_EX09='$(fqdn ex09)' LAB_ASA='$ASA\$' LAB_SVC='$SERVICE' LAB_BARE_PLAN='$ROOT/plan-bare.toml'"
    echo "export LAB_READER='$READER@$DOMAIN' LAB_READER_PASSWORD='$READER_PASSWORD' LAB_KRB5_CONF='$ROOT/krb5.conf'"
    ! has_second_forest || echo "export LAB_SECOND_DOMAIN='$SECOND_DOMAIN' LAB_SECOND_REALM='$(second_realm)' LAB_SECOND_MAIL='$(second_mail)'"
    for role in $(hosts); do
        echo "export LAB_${role^^}='$(fqdn "$role")' LAB_${role^^}_ADDR='$(ipv4 "$role")' LAB_${role^^}_ADDR6='$(ipv6 "$role")'"
    done
}

# Kerberos of a client that is told its KDCs, so that no fault of DNS keeps a user from a ticket.
print_krb5_conf() {
    local dc
    printf '[libdefaults]\ndefault_realm = %s\nrdns = false\ndns_canonicalize_hostname = false\n' "$(realm)"
    printf '[realms]\n%s = {\n' "$(realm)"
    for dc in "${DCS[@]}"; do echo "kdc = $(ipv4 "$dc")"; done
    printf '}\n[domain_realm]\n.%s = %s\n' "$DOMAIN" "$(realm)"
}

# The estate as its administrator would state it to the command under test.
print_plan() {
    local server role
    echo "domain = \"$DOMAIN\""
    print_inputs
    for server in "${SERVERS[@]}"; do
        role=mailbox
        ! is_edge "$server" || role=edge
        printf '\n[[server]]\nname = "%s"\nrole = "%s"\n' "$(fqdn "$server")" "$role"
        case $server in
        edge01) echo "outward = [\"$(fqdn mail)\"]" ;;
        ex01) echo "web = [\"$(fqdn mail)\", \"$(fqdn autodiscover)\"]" ;;
        esac
    done
    print_stores
}

# The exports and logs that make_exports wrote.
print_inputs() {
    local host files=(certificates.json send-connectors.json inbound.json outbound.json accepted.json)
    for host in $(mailbox_servers); do files+=("$host-SEND.log"); done
    printf 'inputs = ['
    printf '"%s", ' "${files[@]/#/$ROOT/inputs/}" | sed 's/, $//'
    printf ']\n'
}

# The same estate for somebody who leaves it to the directory to say which servers there are.
print_bare_plan() {
    echo "domain = \"$DOMAIN\""
    print_stores
}

# The gateways of chains.tsv as an estate: one server for each case.
print_chains_plan() {
    local last=
    server() {
        local name=$2.$DOMAIN outward=
        [ "$2" != "$last" ] || return 0 # a second address of the same name
        last=$2
        [ "$5" = inside ] || outward="\"$name\""
        printf '\n[[server]]\nname = "%s"\nrole = "gateway"\noutward = [%s]\n' "$name" "$outward"
    }
    echo "domain = \"$DOMAIN\""
    for_each_gateway server
    print_stores
}

# The roots that stand for those which everybody has, and the company's own.
print_stores() {
    printf '\n[[store]]\nname = "lab-public"\nfile = "%s"\npublic = true\n' "$CERTIFICATES/lab-public.pem"
    printf '\n[[store]]\nname = "company"\nfile = "%s"\n' "$CERTIFICATES/company.pem"
}
