# Reads faults.tsv, the table of what can be broken.

FAULTS=$LAB/faults.tsv

# Calls a function with the columns of each row of a table, here: fault host switch arguments check verdict subject faulty why.
for_each_row() { # for_each_row FUNCTION TABLE
    local columns
    while IFS=$'\t' read -ra columns; do
        [[ ${columns[0]-} =~ ^(#|fault$|case$|variant$|$) ]] || "$1" "${columns[@]}"
    done <"$2"
}

faulty_faults() { awk -F'\t' '$8 == "yes" && !seen[$1]++ { print $1 }' "$FAULTS"; }
all_faults() { awk -F'\t' '!/^(#|fault\t|$)/ && !seen[$1]++ { print $1 }' "$FAULTS"; }

plant_all() {
    local fault
    for fault in "${PLANT[@]}"; do throw_switches plant "$fault"; done
    [ ${#PLANT[@]} = 0 ] || say "planted ${PLANT[*]}"
}

# Plants or mends one fault: runs the switch of each of its rows. A row about a controller that this lab lacks is passed over.
throw_switches() { # throw_switches plant|mend FAULT
    local action=$1 wanted=$2 found=
    throw() {
        local fault=$1 host=$2 switch=$3 arguments=$4
        [ "$fault" = "$wanted" ] || return 0
        found=yes
        ! is_controller dc2 && [[ "$host $arguments" == *dc2* ]] && return 0
        [ "$switch" != - ] || return 0
        [ "$arguments" != - ] || arguments=
        local -
        set -f # words, not patterns of file names
        "$LAB/switches/$switch" "$action" "$fault" "$host" $(fill_in "$arguments")
    }
    for_each_row throw "$FAULTS"
    [ -n "$found" ] || die "no fault '$wanted' in $FAULTS"
}

# {domain}, for each role {dc2} (its name), {dc2.host} and {dc2.short} (its first part, and that as NetBIOS name), {dc2.ipv4} and
# {dc2.ipv6}, {asa}, {service} and {retired} (accounts), and {cert:web} (the thumbprint of a certificate of certificates.tsv).
fill_in() {
    local text=${1//'{domain}'/$DOMAIN} role name thumbprint
    text=${text//'{asa}'/$ASA\$} text=${text//'{service}'/$SERVICE} text=${text//'{retired}'/$RETIRED}
    for role in "${!NAME[@]}"; do
        text=${text//"{$role.host}"/${NAME[$role]}}
        text=${text//"{$role}"/$(fqdn "$role")}
        text=${text//"{$role.short}"/${NAME[$role]^^}}
    done
    for role in "${!NUMBER[@]}"; do
        text=${text//"{$role.ipv4}"/$(ipv4 "$role")}
        text=${text//"{$role.ipv6}"/$(ipv6 "$role")}
    done
    if [[ $text == *{cert:* ]]; then
        while read -r name thumbprint; do text=${text//"{cert:$name}"/sha1:$thumbprint}; done <"$CERTIFICATES/thumbprints.tsv"
    fi
    echo "$text"
}
