# The web server of the certificate authorities: issuers' certificates and revocation lists, on the host pki.

start_pki() {
    local dir=$ROOT/pki/apache module
    mkdir -p "$dir"
    {
        echo "ServerName $(fqdn pki)"
        echo "Listen $(ipv4 pki):80"
        echo "Listen [$(ipv6 pki)]:80"
        for module in mpm_event authz_core mime; do echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"; done
        cat <<END
DefaultRuntimeDir $dir
PidFile $dir/pid
Mutex file:$dir
ErrorLog $dir/error.log
User www-data
Group www-data
StartServers 1
ServerLimit 2
MinSpareThreads 2
DocumentRoot $CERTIFICATES/pki
TypesConfig /dev/null
AddType application/pkix-cert .cer
AddType application/pkix-crl .crl
END
    } >"$dir/apache.conf"
    start_daemon pki apache 0 apache2 -f "$dir/apache.conf" -D FOREGROUND
}

wait_for_pki() {
    wait_for "the web server of the certificate authorities" at pki bash -c ': <"/dev/tcp/$0/80"' "$(ipv4 pki)"
}
