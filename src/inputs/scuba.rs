//! What an assessment by ScubaGear holds of mail (`ProviderSettingsExport.json`, and `ScubaResults*.json` with the same inside). Since
//! version 1.8 it keeps accepted domains and connectors as Exchange Online tells them; before, only the names of the domains, whose SPF
//! records it looks up (`ExportEXOProvider.psm1` of ScubaGear).

use super::{
    export::{self, Kind},
    mistake::Mistakes,
    rows::Json,
};
use exchange_preflight_checks::model::inputs::Inputs;

/// What it calls its parts, and what they are.
const PARTS: [(&str, Kind); 3] = [
    ("accepted_domains", Kind::AcceptedDomains),
    ("inbound_connectors", Kind::Inbound),
    ("outbound_connectors", Kind::Outbound),
];

/// The domains of which it knows nothing but their names.
const RECORDS: &str = "spf_records";

/// The parts of one, if a file is one.
pub fn parts(json: Json<'_>) -> Option<Vec<(String, Json<'_>)>> {
    let fields = json.object()?;
    let is_one = |fields: &[(String, Json<'_>)]| fields.iter().any(|(name, _)| name == "baseline_version");
    if is_one(&fields) {
        return Some(fields);
    }
    let (_, raw) = fields.into_iter().find(|(name, _)| name == "Raw")?;
    raw.object().filter(|fields| is_one(fields))
}

/// Reads what it holds of mail; what it does not hold was not given. Says how many rows that is.
pub fn read(parts: &[(String, Json<'_>)], inputs: &mut Inputs, mistakes: &mut Mistakes) -> usize {
    let part = |wanted: &str| parts.iter().find(|(name, _)| name == wanted).map(|(_, part)| *part);
    let succeeded: Vec<String> = part("exo_successful_commands")
        .and_then(Json::list)
        .map(|commands| commands.into_iter().filter_map(|one| one.value().as_str().map(Into::into)).collect())
        .unwrap_or_default();
    let mut count = 0;
    let mut is_about_mail = false;
    for (name, kind) in PARTS {
        // What could not be asked for stands there as an empty list, too.
        let is_asked = succeeded.iter().any(|command| command == kind.command());
        let Some(json) = part(name).filter(|_| is_asked) else { continue };
        is_about_mail = true;
        kind.given(inputs);
        for row in json.rows(mistakes) {
            count += 1;
            export::read(kind, &row, None, inputs, mistakes);
        }
    }
    if part("accepted_domains").is_none()
        && let Some(json) = part(RECORDS).filter(|_| succeeded.iter().any(|command| command == "Get-AcceptedDomain"))
    {
        is_about_mail = true;
        for row in json.rows(mistakes) {
            count += 1;
            export::read_domain_alone(&row, inputs, mistakes);
        }
    }
    if !is_about_mail {
        mistakes.whole(
            "is a ScubaGear export that holds neither accepted domains nor connectors; run Invoke-SCuBA with -ProductNames exo, or \
             see `exchange-preflight explain inputs`",
        );
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: &str = include_str!("../../fixtures/inputs/scuba.json");

    fn given(text: &str) -> (Inputs, Vec<String>) {
        let (mut inputs, mut mistakes) = (Inputs::default(), Mistakes::of("scuba.json"));
        let json = Json::read(text, &mut mistakes).unwrap();
        read(&parts(json).unwrap(), &mut inputs, &mut mistakes);
        (inputs, mistakes.into_sentences())
    }

    #[test]
    fn connectors_and_domains_are_taken_from_it() {
        let (inputs, mistakes) = given(EXPORT);
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(inputs.accepted_domains.unwrap().len(), 2);
        assert_eq!(inputs.inbound.unwrap()[0].certificate_name.as_deref(), Some("mail.contoso.com"));
        assert_eq!(inputs.outbound, Some(Vec::new()), "it was asked, and there is none");
        assert_eq!(inputs.certificates, None);
        let within = format!("{{\"MetaData\": {{}}, \"Raw\": {EXPORT}}}");
        assert_eq!(given(&within).0.inbound.map(|rows| rows.len()), Some(2));
    }

    #[test]
    fn what_could_not_be_asked_was_not_given() {
        let (inputs, _) = given(&EXPORT.replace("\"Get-InboundConnector\",", ""));
        assert_eq!(inputs.inbound, None);
    }

    /// Before version 1.8.
    #[test]
    fn an_older_one_has_the_names_of_domains() {
        let older = EXPORT.replace("\"accepted_domains\"", "\"other\"").replace("_connectors\"", "_others\"");
        let (inputs, mistakes) = given(&older);
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!((inputs.inbound, inputs.outbound), (None, None));
        let domains = inputs.accepted_domains.unwrap();
        assert_eq!((domains[0].name.as_str(), domains[0].kind.as_deref()), ("contoso.com", None));
        let (_, mistakes) = given(&older.replace("Get-AcceptedDomain", "Get-Nothing"));
        assert!(mistakes[0].contains("-ProductNames exo"), "{mistakes:?}");
    }
}
