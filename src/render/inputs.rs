//! The commands that make the files of `--input`, for `explain inputs`. Each is one line to copy, and only reads.

use std::io::{self, Write};

/// A file, and how it is made where one stands.
struct Recipe {
    /// What it tells.
    of: &'static str,
    /// Where its command runs, and the command.
    ways: &'static [(&'static str, &'static str)],
    /// What stands in it.
    holds: &'static str,
}

/// Of rows of one kind, and whatever shell: dates in UTC, lists as lists, enumerations as words, and the certificate itself where the
/// shell has it (a remote one has not).
const RECIPES: [Recipe; 5] = [
    Recipe {
        of: "certificates of each server",
        ways: &[
            (
                "Exchange Management Shell, 2013 and later; all servers but Edge",
                "@(foreach ($x in @(Get-ExchangeServer)) { if ($x.ServerRole -notmatch 'Edge') { $s = $x.Fqdn; Get-ExchangeCertificate -Server $s | Select-Object @{n='Server';e={$s}},Thumbprint,Subject,Issuer,SerialNumber,@{n='NotBefore';e={$_.NotBefore.ToUniversalTime().ToString('o')}},@{n='NotAfter';e={$_.NotAfter.ToUniversalTime().ToString('o')}},@{n='CertificateDomains';e={@($_.CertificateDomains | ForEach-Object { \"$_\" })}},@{n='Services';e={\"$($_.Services)\"}},IsSelfSigned,HasPrivateKey,@{n='RootCAType';e={\"$($_.RootCAType)\"}},@{n='Status';e={\"$($_.Status)\"}},@{n='RawData';e={if ($_.RawData) {[Convert]::ToBase64String($_.RawData)}}} } }) | ConvertTo-Json -Depth 3 | Set-Content certificates.json -Encoding UTF8",
            ),
            (
                "on each Edge server",
                "Get-ExchangeCertificate | Select-Object @{n='Server';e={\"$env:COMPUTERNAME\"}},Thumbprint,Subject,Issuer,SerialNumber,@{n='NotBefore';e={$_.NotBefore.ToUniversalTime().ToString('o')}},@{n='NotAfter';e={$_.NotAfter.ToUniversalTime().ToString('o')}},@{n='CertificateDomains';e={@($_.CertificateDomains | ForEach-Object { \"$_\" })}},@{n='Services';e={\"$($_.Services)\"}},IsSelfSigned,HasPrivateKey,@{n='RootCAType';e={\"$($_.RootCAType)\"}},@{n='Status';e={\"$($_.Status)\"}},@{n='RawData';e={if ($_.RawData) {[Convert]::ToBase64String($_.RawData)}}} | ConvertTo-Json -Depth 3 | Set-Content \"certificates-$env:COMPUTERNAME.json\" -Encoding UTF8",
            ),
            (
                "Exchange 2010, whose PowerShell has no ConvertTo-Json",
                "@(foreach ($x in @(Get-ExchangeServer)) { if ($x.ServerRole -notmatch 'Edge') { $s = $x.Fqdn; Get-ExchangeCertificate -Server $s | Select-Object @{n='Server';e={$s}},Thumbprint,Subject,Issuer,SerialNumber,@{n='NotBefore';e={$_.NotBefore.ToUniversalTime().ToString('o')}},@{n='NotAfter';e={$_.NotAfter.ToUniversalTime().ToString('o')}},@{n='CertificateDomains';e={@($_.CertificateDomains | ForEach-Object { \"$_\" }) -join ' '}},@{n='Services';e={\"$($_.Services)\"}},IsSelfSigned,HasPrivateKey,@{n='RootCAType';e={\"$($_.RootCAType)\"}},@{n='Status';e={\"$($_.Status)\"}},@{n='RawData';e={if ($_.RawData) {[Convert]::ToBase64String($_.RawData)}}} } }) | Export-Csv certificates.csv -NoTypeInformation -Encoding UTF8",
            ),
        ],
        holds: "names, dates and uses of certificates, and the certificates themselves; no key",
    },
    Recipe {
        of: "send connectors",
        ways: &[
            (
                "Exchange Management Shell, 2013 and later",
                "ConvertTo-Json -Depth 3 @{'Get-SendConnector'=@(Get-SendConnector | Select-Object Name,Enabled,@{n='Fqdn';e={\"$($_.Fqdn)\"}},@{n='TlsCertificateName';e={\"$($_.TlsCertificateName)\"}},@{n='SourceTransportServers';e={@($_.SourceTransportServers | ForEach-Object { $_.Name })}},@{n='SmartHosts';e={@($_.SmartHosts | ForEach-Object { \"$_\" })}},@{n='AddressSpaces';e={@($_.AddressSpaces | ForEach-Object { \"$_\" })}},@{n='TlsDomain';e={\"$($_.TlsDomain)\"}},CloudServicesMailEnabled,FrontendProxyEnabled)} | Set-Content send-connectors.json -Encoding UTF8",
            ),
            (
                "Exchange 2010",
                "Get-SendConnector | Select-Object Name,Enabled,@{n='Fqdn';e={\"$($_.Fqdn)\"}},TlsCertificateName,@{n='SourceTransportServers';e={@($_.SourceTransportServers | ForEach-Object { $_.Name }) -join ' '}},@{n='SmartHosts';e={@($_.SmartHosts | ForEach-Object { \"$_\" }) -join ' '}},@{n='AddressSpaces';e={@($_.AddressSpaces | ForEach-Object { \"$_\" }) -join ' '}},@{n='TlsDomain';e={\"$($_.TlsDomain)\"}} | Export-Csv send-connectors.csv -NoTypeInformation -Encoding UTF8",
            ),
        ],
        holds: "where mail goes out, and by which certificate; no password of a smart host",
    },
    Recipe {
        of: "connectors and domains of the tenant",
        ways: &[(
            "Exchange Online PowerShell, after Connect-ExchangeOnline",
            "ConvertTo-Json -Depth 3 @{'Get-InboundConnector'=@(Get-InboundConnector | Select-Object Name,Enabled,@{n='ConnectorType';e={\"$($_.ConnectorType)\"}},RequireTls,@{n='TlsSenderCertificateName';e={\"$($_.TlsSenderCertificateName)\"}},@{n='SenderIPAddresses';e={@($_.SenderIPAddresses | ForEach-Object { \"$_\" })}},@{n='SenderDomains';e={@($_.SenderDomains | ForEach-Object { \"$_\" })}},RestrictDomainsToCertificate,RestrictDomainsToIPAddresses,CloudServicesMailEnabled,@{n='WhenChangedUTC';e={$_.WhenChangedUTC.ToString('s')+'Z'}}); 'Get-OutboundConnector'=@(Get-OutboundConnector | Select-Object Name,Enabled,@{n='ConnectorType';e={\"$($_.ConnectorType)\"}},@{n='SmartHosts';e={@($_.SmartHosts | ForEach-Object { \"$_\" })}},@{n='TlsDomain';e={\"$($_.TlsDomain)\"}},@{n='TlsSettings';e={\"$($_.TlsSettings)\"}},@{n='RecipientDomains';e={@($_.RecipientDomains | ForEach-Object { \"$_\" })}}); 'Get-AcceptedDomain'=@(Get-AcceptedDomain | Select-Object @{n='DomainName';e={\"$($_.DomainName)\"}},@{n='DomainType';e={\"$($_.DomainType)\"}},MatchSubDomains)} | Set-Content tenant.json -Encoding UTF8",
        )],
        holds: "by which certificates and addresses the tenant knows your servers, and its domains",
    },
    Recipe {
        of: "connectors and domains of the tenant, from an assessment",
        ways: &[(
            "ScubaGear, 1.8 and later; an older one has the names of the domains only",
            "Invoke-SCuBA -ProductNames exo -KeepIndividualJSON",
        )],
        holds: "much more, of which the parts above are taken: ProviderSettingsExport.json",
    },
    Recipe {
        of: "send protocol logs of each source server",
        ways: &[
            (
                "Exchange Management Shell, 2013 and later: switches the log on, until it is switched off with None",
                "Set-SendConnector '<NAME>' -ProtocolLoggingLevel Verbose",
            ),
            (
                "where it is; of a connector with FrontendProxyEnabled: Get-FrontendTransportService",
                "(Get-SendConnector '<NAME>').SourceTransportServers | ForEach-Object { Get-TransportService $_.Name } | Format-List Name,SendProtocolLogPath",
            ),
            (
                "where it is, Exchange 2010",
                "(Get-SendConnector '<NAME>').SourceTransportServers | ForEach-Object { Get-TransportServer $_.Name } | Format-List Name,SendProtocolLogPath",
            ),
        ],
        holds: "who wrote to whom; taken is only which certificate was shown to whom and who refused it, so that no recording has more",
    },
];

/// Prints how each file is made, what stands in it, and how it is given.
pub fn explain(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "inputs  What no port tells: certificates that a server has beside the one that it shows, and what the tenant is told."
    )?;
    writeln!(
        out,
        "        All of it can be left out. No file holds a key or a mail; a plan and a recording keep what was taken from it.\n"
    )?;
    writeln!(out, "        exchange-preflight run --input certificates.json --input EX01=SEND20261122-1.LOG")?;
    writeln!(out, "        What a file is, it tells itself; SERVER= says whose it is where its rows do not.\n")?;
    for Recipe { of, ways, holds } in &RECIPES {
        writeln!(out, "{of}")?;
        writeln!(out, "  in it: {holds}")?;
        for (place, command) in *ways {
            writeln!(out, "  {place}:\n    {command}")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "Taken are JSON and CSV in UTF-8 or UTF-16, as Windows PowerShell and PowerShell 7 write them.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::export::Kind;

    /// A command is one line, so that it can be copied, and changes nothing but what says so.
    #[test]
    fn commands_are_one_line_each() {
        for (place, command) in RECIPES.iter().flat_map(|recipe| recipe.ways) {
            assert!(!command.contains('\n'), "{place}");
            assert!(!command.contains("Remove-") && !command.contains("-Force"), "{place}");
            for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
                assert_eq!(command.matches(open).count(), command.matches(close).count(), "{place}: {open}{close}");
            }
            assert_eq!(command.matches('"').count() % 2, 0, "{place}");
        }
    }

    #[test]
    fn every_kind_has_its_command() {
        let mut printed = Vec::new();
        explain(&mut printed).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        assert!(Kind::ALL.into_iter().all(|kind| printed.contains(kind.command())));
    }
}
