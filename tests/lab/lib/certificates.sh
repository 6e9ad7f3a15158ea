# Certificates: made from certificates.tsv when the state is built, and kept below $ROOT/certificates.

CERTIFICATES=$ROOT/certificates

make_certificates() {
    fill_in "$(<"$LAB/certificates.tsv")" | "$LAB/make-certificates" "$CERTIFICATES" "http://$(fqdn pki)"
    mkdir "$CERTIFICATES/sent"
}

# Prints a file as servers take it: the key of the first certificate, then all certificates in the order in which they are sent.
chain_file() { # chain_file NAME...
    local IFS=+ file
    file=$CERTIFICATES/sent/$*.pem
    [ -e "$file" ] || (cd "$CERTIFICATES" && cat "$1.key" "${@/%/.pem}" >"$file")
    echo "$file"
}
